//! The page to try a model: HTML, style and JavaScript, without a library. It draws, takes photographs and shows classes; what
//! computes is [a server](of_server), or [the browser itself](of_browser).
//!
//! | to find | look in |
//! | --- | --- |
//! | what is on the page, and how it looks | `page.html`, `page.css` |
//! | drawing, photographs, camera, results | `page.js` |
//! | a server that computes | `server.js` |
//! | a browser that computes, golden vectors there | `browser.js` |
//! | preprocessing in JavaScript, as `kiln-preprocess` does it | `pixels.js` |

#![forbid(unsafe_code)]

const TEMPLATE: &str = include_str!("page.html");
const STYLE: &str = include_str!("page.css");
/// What computes comes last: it starts the page.
const SERVER: &str = concat!(
    "'use strict';\n",
    include_str!("page.js"),
    "\n",
    include_str!("server.js")
);
const BROWSER: &str = concat!(
    include_str!("page.js"),
    "\n",
    include_str!("pixels.js"),
    "\n",
    include_str!("browser.js")
);

/// What the browser's page may do: run its own scripts and WebAssembly, and read its own files.
const POLICY: &str = "default-src 'none'; script-src 'self' 'wasm-unsafe-eval'; style-src 'self'; img-src 'self' data: blob:; \
                      media-src 'self' blob:; connect-src 'self'; base-uri 'none'; form-action 'none'";

/// The page of a server, one file, with its style and its script inside, each once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ServerPage {
    /// The file.
    pub html: String,
    /// What is between its `<style>` and `</style>`, for the digest in a content security policy.
    pub style: &'static str,
    /// The same of its script.
    pub script: &'static str,
}

/// Returns the page of a server, which asks it for `models` and posts images to `predict`.
pub fn of_server() -> ServerPage {
    let footer = "<footer><p class=\"soft\">Programs: <a href=\"openapi.json\">description of the interface</a>, Open Inference \
                  Protocol below <code>/v2</code>, <a href=\"metrics\">metrics</a>.</p></footer>";
    let html = TEMPLATE
        .replace("{waiting}", "Asking for the models …")
        .replace("{footer}", footer)
        .replace("{style}", &format!("<style>{STYLE}</style>"))
        .replace("{script}", &format!("<script>{SERVER}</script>"));
    ServerPage {
        html,
        style: STYLE,
        script: SERVER,
    }
}

/// A file of the browser's page.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    /// Its path below the page's folder, with `/`.
    pub path: &'static str,
    /// Its content.
    pub content: String,
}

/// The files of ONNX Runtime Web that the browser's page takes from its folder `ort`.
pub const RUNTIME_FILES: [&str; 3] = [
    "ort.wasm.min.mjs",
    "ort-wasm-simd-threaded.mjs",
    "ort-wasm-simd-threaded.wasm",
];

/// Returns the files of a page that runs `model.onnx` beside it in the browser: a model of kiln's that takes uint8 pixels and
/// gives probabilities. [`RUNTIME_FILES`] belong into its folder `ort`.
pub fn of_browser() -> Vec<File> {
    let footer = "<footer><p class=\"soft\">Nothing leaves this browser. The network is computed by ONNX Runtime Web \
                  (<a href=\"ort/LICENSE.txt\">MIT license</a>).</p></footer>";
    let policy = format!("<meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n");
    let html = TEMPLATE
        .replace(
            "{waiting}",
            "Loading the model … (It takes a web server, such as that of <code>python3 -m http.server</code>: browsers run no \
             modules of a file that is opened from a folder.)",
        )
        .replace("{footer}", footer)
        .replace(
            "{style}",
            &format!("{policy}<link rel=\"stylesheet\" href=\"page.css\">"),
        )
        .replace(
            "{script}",
            "<script type=\"module\" src=\"page.js\"></script>",
        );
    let file = |path, content: &str| File {
        path,
        content: content.to_owned(),
    };
    vec![
        file("index.html", &html),
        file("page.css", STYLE),
        file("page.js", BROWSER),
        file("ort/LICENSE.txt", include_str!("onnxruntime-license.txt")),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_place_of_the_template_is_filled() {
        let [server, browser] = [of_server().html, of_browser()[0].content.clone()];
        for html in [&server, &browser] {
            for place in ["{style}", "{script}", "{footer}", "{waiting}"] {
                assert!(!html.contains(place), "{place}");
            }
        }
        let page = of_server();
        for (tag, inside) in [("style", page.style), ("script", page.script)] {
            assert_eq!(server.matches(&format!("<{tag}>")).count(), 1);
            assert!(server.contains(&format!("<{tag}>{inside}</{tag}>")));
        }
    }

    #[test]
    fn the_browsers_page_has_no_script_or_style_of_its_own() {
        let files = of_browser();
        let html = &files[0].content;
        assert!(html.contains("script-src 'self' 'wasm-unsafe-eval'"));
        assert!(
            !html.contains("<script>") && !html.contains("<style>") && !html.contains("onclick")
        );
        let script = &files[2].content;
        for name in RUNTIME_FILES {
            assert!(script.contains(&format!("./ort/{name}")), "{name}");
        }
        assert!(!script.contains("http://") && !script.contains("https://"));
    }
}
