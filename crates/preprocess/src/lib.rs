//! Images or raw pixels to NCHW f32 by a preprocessing record.
