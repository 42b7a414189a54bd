//! Building, training and running the models in Burn.
