//! The execution providers that a library was built with.

use ::ort::ep::ExecutionProvider;
use ::ort::session::builder::SessionBuilder;

/// Asks the loaded library for each provider by ONNX Runtime's name for it. `ort` has the question,
/// but only for the providers that it is compiled for; here they are named, never used.
macro_rules! available {
    ($($provider:ident),* $(,)?) => {{
        let mut names = Vec::new();
        $({
            struct $provider;

            impl ExecutionProvider for $provider {
                const NAME: &'static str = stringify!($provider);

                fn register(&self, _: &mut SessionBuilder) -> ::ort::Result<()> {
                    Err(::ort::Error::new(concat!("kiln does not use ", stringify!($provider))))
                }
            }

            if $provider::is_available()? {
                names.push($provider::NAME.to_owned());
            }
        })*
        Ok(names)
    }};
}

/// Names of the execution providers that the loaded library was built with, in the order in which
/// ONNX Runtime prefers them.
pub fn available() -> ::ort::Result<Vec<String>> {
    available![
        NvTensorRTRTXExecutionProvider,
        TensorrtExecutionProvider,
        CUDAExecutionProvider,
        MIGraphXExecutionProvider,
        ROCMExecutionProvider,
        OpenVINOExecutionProvider,
        DnnlExecutionProvider,
        VitisAIExecutionProvider,
        QNNExecutionProvider,
        NnapiExecutionProvider,
        CoreMLExecutionProvider,
        ACLExecutionProvider,
        DmlExecutionProvider,
        CANNExecutionProvider,
        WebGpuExecutionProvider,
        XnnpackExecutionProvider,
        AzureExecutionProvider,
        CPUExecutionProvider,
    ]
}
