//! File names from strangers: reduced to one harmless path component before anything touches the disk.

/// Longest name kept, in bytes: below the 255 that common file systems take, with room for a ` (99)` and a suffix.
pub const NAME_BYTES_MAX: usize = 200;

const UNNAMED: &str = "unnamed";

/// The names Windows keeps for devices, whatever their extension.
const DEVICE_NAMES: [&str; 22] = [
    "con", "prn", "aux", "nul", "com1", "com2", "com3", "com4", "com5", "com6", "com7", "com8", "com9", "lpt1", "lpt2",
    "lpt3", "lpt4", "lpt5", "lpt6", "lpt7", "lpt8", "lpt9",
];

/// One path component that stays in its directory, is not hidden, and shows as what it is.
///
/// Keeps the last component of either separator, drops control and direction-changing characters, replaces what
/// some file system forbids, a leading dot included, and cuts to [`NAME_BYTES_MAX`] while keeping the extension.
pub fn sanitise(name: &str) -> String {
    let last = name.rsplit(['/', '\\']).next().unwrap_or_default();
    let cleaned: String = last
        .chars()
        .filter(|c| !c.is_control() && !changes_direction(*c))
        .map(|c| if matches!(c, '<' | '>' | ':' | '"' | '|' | '?' | '*') { '_' } else { c })
        .collect();

    let trimmed = cleaned.trim().trim_end_matches(['.', ' ']);
    let visible = match trimmed.strip_prefix('.') {
        Some(rest) => format!("_{rest}"),
        None => trimmed.to_owned(),
    };
    let stem = visible.split('.').next().unwrap_or_default().trim_end().to_lowercase();
    let named = if visible.is_empty() {
        UNNAMED.to_owned()
    } else if DEVICE_NAMES.contains(&stem.as_str()) {
        format!("_{visible}")
    } else {
        visible
    };
    shorten(&named)
}

/// The `n`th alternative of a name that is taken: `report.pdf`, `report (1).pdf`, `report (2).pdf` …
pub fn alternative(name: &str, n: u32) -> String {
    if n == 0 {
        return name.to_owned();
    }
    match split_extension(name) {
        (stem, Some(extension)) => format!("{stem} ({n}).{extension}"),
        (stem, None) => format!("{stem} ({n})"),
    }
}

fn changes_direction(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

fn split_extension(name: &str) -> (&str, Option<&str>) {
    match name.rsplit_once('.') {
        Some((stem, extension)) if !stem.is_empty() && !extension.is_empty() => (stem, Some(extension)),
        _ => (name, None),
    }
}

fn shorten(name: &str) -> String {
    if name.len() <= NAME_BYTES_MAX {
        return name.to_owned();
    }
    // An extension longer than this is no extension.
    const EXTENSION_BYTES_MAX: usize = 32;
    match split_extension(name) {
        (stem, Some(extension)) if extension.len() <= EXTENSION_BYTES_MAX => {
            format!("{}.{extension}", cut(stem, NAME_BYTES_MAX - 1 - extension.len()))
        }
        _ => cut(name, NAME_BYTES_MAX).to_owned(),
    }
}

fn cut(text: &str, bytes_max: usize) -> &str {
    let mut end = bytes_max.min(text.len());
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    &text[..end]
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn refuses_to_leave_the_directory() {
        for (given, kept) in [
            ("../../etc/passwd", "passwd"),
            ("..", UNNAMED),
            (".", UNNAMED),
            ("", UNNAMED),
            ("/", UNNAMED),
            ("a/..", UNNAMED),
            ("..\\..\\boot.ini", "boot.ini"),
            ("C:\\x\\y.txt", "y.txt"),
            ("C:evil", "C_evil"),
        ] {
            assert_eq!(sanitise(given), kept, "{given:?}");
        }
    }

    #[test]
    fn refuses_hidden_device_and_disguised_names() {
        assert_eq!(sanitise(".bashrc"), "_bashrc");
        assert_eq!(sanitise("NUL"), "_NUL");
        assert_eq!(sanitise("con.txt"), "_con.txt");
        assert_eq!(sanitise("a\0b\n.txt"), "ab.txt");
        assert_eq!(sanitise("photo\u{202e}gpj.exe"), "photogpj.exe");
        assert_eq!(sanitise("report.pdf. . "), "report.pdf");
    }

    #[test]
    fn keeps_ordinary_names() {
        for name in ["PrepaymentEscrow.sol", "Ünïcödé 文件.tar.gz", "no extension", "a-b_c (1).txt"] {
            assert_eq!(sanitise(name), name);
        }
    }

    #[test]
    fn alternatives_keep_the_extension() {
        assert_eq!(alternative("a.txt", 0), "a.txt");
        assert_eq!(alternative("a.txt", 2), "a (2).txt");
        assert_eq!(alternative("a", 1), "a (1)");
    }

    proptest! {
        #[test]
        fn is_always_one_component(name in "\\PC*|[./\\\\a-z]{0,20}|.{180,400}") {
            let kept = sanitise(&name);
            prop_assert!(!kept.is_empty() && kept.len() <= NAME_BYTES_MAX + 1);
            prop_assert!(!kept.contains(['/', '\\', '\0']) && !kept.starts_with('.'));
            let path = std::path::Path::new(&kept);
            prop_assert_eq!(path.components().count(), 1);
            prop_assert!(matches!(path.components().next(), Some(std::path::Component::Normal(_))));
        }
    }
}
