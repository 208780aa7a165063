//! Choices: settings that are one of a few words, where the agent starts reading, and which cores it runs on.
//!
//! Promises: what is accepted here has one meaning; what is refused is told all that it could have been.
//! Must not know: names of variables, the environment.
use super::value::Target;
use edgepush_shard::batch::Container;
use edgepush_shard::codec::{CodecKind, Level};
use edgepush_shard::scan::Simd;
use std::net::SocketAddr;

/// Finds `text` among words, or says what they are.
fn one_of<T: Copy>(text: &str, words: &[(&str, T)]) -> Result<T, String> {
    match words.iter().find(|(word, _)| *word == text) {
        Some((_, value)) => Ok(*value),
        None => {
            let all: Vec<&str> = words.iter().map(|(word, _)| *word).collect();
            Err(format!("must be one of: {}", all.join(", ")))
        }
    }
}

/// Where the files begin that exist at the very first start of a state directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Start {
    /// At offset 0.
    Beginning,
    /// At their end.
    End,
    /// At 0 when modified at or after this time, else at their end (RULINGS 13); ns since the epoch.
    At(i64),
}

/// Reads `beginning`, `end` or an RFC 3339 time.
pub fn start(text: &str) -> Result<Start, String> {
    match text {
        "beginning" => Ok(Start::Beginning),
        "end" => Ok(Start::End),
        time => {
            let wanted = "must be beginning, end, or an RFC 3339 time like 2026-01-31T12:00:00Z";
            let time: jiff::Timestamp = time.parse().map_err(|_| wanted.to_string())?;
            i64::try_from(time.as_nanosecond()).map(Start::At).map_err(|_| wanted.to_string())
        }
    }
}

/// What runs the shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuntimeChoice {
    /// io_uring where the kernel allows it, else threads.
    Auto,
    /// io_uring, or exit 2 with the cause.
    Uring,
    /// One tokio runtime a pinned thread.
    Threads,
}

/// Reads a runtime.
pub fn runtime(text: &str) -> Result<RuntimeChoice, String> {
    let words =
        [("auto", RuntimeChoice::Auto), ("uring", RuntimeChoice::Uring), ("threads", RuntimeChoice::Threads)];
    one_of(text, &words)
}

/// Which vector instructions are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SimdChoice {
    /// The widest that the CPU has.
    Auto,
    /// AVX-512.
    Avx512,
    /// AVX2.
    Avx2,
    /// NEON.
    Neon,
    /// None.
    Scalar,
}

impl SimdChoice {
    /// At most this; none: what the machine has.
    pub fn level(self) -> Option<Simd> {
        match self {
            SimdChoice::Auto => None,
            SimdChoice::Avx512 => Some(Simd::Avx512),
            SimdChoice::Avx2 => Some(Simd::Avx2),
            SimdChoice::Neon => Some(Simd::Neon),
            SimdChoice::Scalar => Some(Simd::Scalar),
        }
    }
}

/// Reads a SIMD choice; one that this build's architecture cannot have is refused.
pub fn simd(text: &str) -> Result<SimdChoice, String> {
    let words = [
        ("auto", SimdChoice::Auto),
        ("avx512", SimdChoice::Avx512),
        ("avx2", SimdChoice::Avx2),
        ("neon", SimdChoice::Neon),
        ("scalar", SimdChoice::Scalar),
    ];
    let choice = one_of(text, &words)?;
    let here = match choice {
        SimdChoice::Auto | SimdChoice::Scalar => true,
        SimdChoice::Avx512 | SimdChoice::Avx2 => cfg!(target_arch = "x86_64"),
        SimdChoice::Neon => cfg!(target_arch = "aarch64"),
    };
    if here {
        Ok(choice)
    } else {
        Err(format!("{} has no such instructions; write auto", std::env::consts::ARCH))
    }
}

/// Reads a codec.
pub fn codec(text: &str) -> Result<CodecKind, String> {
    one_of(text, &[("gzip", CodecKind::Gzip), ("zstd", CodecKind::Zstd), ("none", CodecKind::None)])
}

/// Reads a level.
pub fn level(text: &str) -> Result<Level, String> {
    one_of(text, &Level::ALL.map(|level| (level.as_str(), level)))
}

/// Reads a gzip container.
pub fn container(text: &str) -> Result<Container, String> {
    one_of(text, &[("members", Container::Members), ("single", Container::Single)])
}

/// How much the agent says about itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    /// Data loss, or a human must act.
    Error,
    /// Weather, once a minute a kind.
    Warn,
    /// What an operator wants to read afterwards.
    Info,
    /// For finding a cause; may show record content.
    Debug,
    /// Everything.
    Trace,
}

/// Reads a log level.
pub fn log_level(text: &str) -> Result<LogLevel, String> {
    let words = [
        ("error", LogLevel::Error),
        ("warn", LogLevel::Warn),
        ("info", LogLevel::Info),
        ("debug", LogLevel::Debug),
        ("trace", LogLevel::Trace),
    ];
    one_of(text, &words)
}

/// How the own log is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people and journald.
    Text,
    /// One JSON object a line.
    Json,
}

/// Reads a log format.
pub fn log_format(text: &str) -> Result<LogFormat, String> {
    one_of(text, &[("text", LogFormat::Text), ("json", LogFormat::Json)])
}

/// Whether a text is a URL that HTTP is spoken to.
pub fn is_web(text: &str) -> bool {
    text.starts_with("https://") || text.starts_with("http://")
}

/// Where job files are: a directory or a URL. The URL is judged by a part that is no leaf.
pub fn jobs(text: &str) -> Result<Target, String> {
    if !is_web(text) && text.contains("://") {
        return Err("must be a directory, or begin with https:// or http://".into());
    }
    Ok(Target::new(text))
}

/// Reads what URLs are to begin with: scheme, host and perhaps a path; without a `/` at the end.
pub fn base_url(text: &str) -> Result<String, String> {
    let rest = text.strip_prefix("https://").or_else(|| text.strip_prefix("http://"));
    let fits = |b: u8| b.is_ascii_alphanumeric() || b"-._~:/[]".contains(&b);
    match rest {
        Some(rest) if !rest.is_empty() && !rest.starts_with('/') && rest.bytes().all(fits) => {
            Ok(text.trim_end_matches('/').to_owned())
        }
        _ => Err("must be like https://logs.example.com, without parameters".into()),
    }
}

/// Reads `off`, or an address with its port.
pub fn listen(text: &str) -> Result<Option<SocketAddr>, String> {
    if text == "off" {
        return Ok(None);
    }
    text.parse()
        .map(Some)
        .map_err(|_| "must be off, or ADDRESS:PORT like 127.0.0.1:9600 or [::1]:9600".into())
}

/// Permission bits in octal.
pub fn mode(text: &str) -> Result<u32, String> {
    match u32::from_str_radix(text, 8) {
        Ok(mode) if mode <= 0o777 => Ok(mode),
        _ => Err("must be a file mode in octal, like 0666 or 0660".into()),
    }
}

/// Reads a host name as it may stand in object names.
pub fn hostname(text: &str) -> Result<String, String> {
    let fits = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'-' | b'_');
    if text.len() <= 253 && text.bytes().all(fits) && !text.starts_with('.') {
        Ok(text.into())
    } else {
        Err("must be letters, digits, '.', '-' and '_', at most 253, not beginning with '.'".into())
    }
}

/// Which CPUs the shards run on, as said.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CoreSpec {
    /// The first so many of the affinity mask.
    Count(usize),
    /// These CPU ids, ascending, each once.
    Ids(Vec<usize>),
}

/// Reads `2` (how many), or `cpu:0` or `0,2-3` (which).
pub fn cores(text: &str) -> Result<CoreSpec, String> {
    let wanted = || "must be how many (2) or which CPUs (cpu:0, or 0,2-3)".to_string();
    if let Ok(count) = text.parse::<usize>() {
        return if (1..=1024).contains(&count) {
            Ok(CoreSpec::Count(count))
        } else {
            Err("must be at least 1 and at most 1024; CPU 0 alone is written cpu:0".into())
        };
    }
    let mut ids = Vec::new();
    for part in text.strip_prefix("cpu:").unwrap_or(text).split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let first: usize = first.trim().parse().map_err(|_| wanted())?;
        let last: usize = last.trim().parse().map_err(|_| wanted())?;
        if first > last || last >= 4096 {
            return Err(wanted());
        }
        ids.extend(first..=last);
    }
    ids.sort_unstable();
    ids.dedup();
    Ok(CoreSpec::Ids(ids))
}

impl CoreSpec {
    /// The CPUs to run on, and a warning when fewer than said can be had. `allowed` is the affinity mask, ascending;
    /// `quota` the cgroup's share, in CPUs. Ids outside the mask are an error that names the allowed ones.
    pub fn resolve(
        &self,
        allowed: &[usize],
        quota: Option<f64>,
    ) -> Result<(Vec<usize>, Option<String>), String> {
        match self {
            CoreSpec::Ids(ids) => match ids.iter().find(|id| !allowed.contains(id)) {
                Some(id) => Err(format!("CPU {id} is not allowed here; allowed are {}", show_ids(allowed))),
                None => Ok((ids.clone(), None)),
            },
            CoreSpec::Count(count) => {
                let whole = quota.map_or(usize::MAX, |cpus| (cpus.ceil() as usize).max(1));
                let most = allowed.len().min(whole).max(1);
                let cpus = allowed.iter().copied().take((*count).min(most)).collect();
                let why = if whole < allowed.len() { "the cgroup quota" } else { "the affinity mask" };
                let cut = *count > most;
                Ok((
                    cpus,
                    cut.then(|| format!("{count} cores are asked for, {why} allows {most}: using {most}")),
                ))
            }
        }
    }
}

/// Writes CPU ids as ranges: `0-3,6`.
pub fn show_ids(ids: &[usize]) -> String {
    let mut shown: Vec<String> = Vec::new();
    let mut rest = ids;
    while let Some(&first) = rest.first() {
        let run = rest.iter().enumerate().take_while(|(i, id)| **id == first + i).count();
        let last = first + run - 1;
        shown.push(if run == 1 { first.to_string() } else { format!("{first}-{last}") });
        rest = &rest[run..];
    }
    shown.join(",")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_exact_and_a_refusal_names_all() {
        assert_eq!(codec("zstd"), Ok(CodecKind::Zstd));
        assert_eq!(codec("gz"), Err("must be one of: gzip, zstd, none".into()));
        assert_eq!(level("small").map(Level::as_str), Ok("small"));
        assert!(level("6").is_err());
        assert_eq!(container("single"), Ok(Container::Single));
        assert_eq!(runtime("threads"), Ok(RuntimeChoice::Threads));
        assert!(runtime("Auto").is_err());
        assert_eq!(log_level("warn"), Ok(LogLevel::Warn));
        assert_eq!(log_format("json"), Ok(LogFormat::Json));
        assert_eq!(simd("scalar"), Ok(SimdChoice::Scalar));
        let foreign = if cfg!(target_arch = "x86_64") { "neon" } else { "avx2" };
        assert!(simd(foreign).is_err());
    }

    #[test]
    fn a_start_is_a_word_or_a_time() {
        assert_eq!(start("beginning"), Ok(Start::Beginning));
        assert_eq!(start("end"), Ok(Start::End));
        assert_eq!(start("1970-01-01T00:00:01.5Z"), Ok(Start::At(1_500_000_000)));
        assert_eq!(start("1970-01-01T02:00:00+02:00"), Ok(Start::At(0)));
        for text in ["", "now", "2026-01-31", "2026-01-31T12:00:00", "2026-13-01T00:00:00Z"] {
            assert!(start(text).is_err(), "{text}");
        }
    }

    #[test]
    fn addresses_need_a_port() {
        assert_eq!(listen("off"), Ok(None));
        assert_eq!(listen("127.0.0.1:0"), Ok(Some("127.0.0.1:0".parse().unwrap())));
        assert_eq!(listen("[::]:9600"), Ok(Some("[::]:9600".parse().unwrap())));
        for text in ["9600", ":9600", "localhost", "127.0.0.1", "::1:9600", "OFF"] {
            assert!(listen(text).is_err(), "{text}");
        }
    }

    #[test]
    fn host_names_fit_into_paths() {
        assert_eq!(hostname("edge-1.example_x"), Ok("edge-1.example_x".into()));
        for text in ["a/b", "..", ".x", "a b", "ü", "a\n"] {
            assert!(hostname(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cores_are_a_count_or_a_list() {
        assert_eq!(cores("2"), Ok(CoreSpec::Count(2)));
        assert_eq!(cores("cpu:0"), Ok(CoreSpec::Ids(vec![0])));
        assert_eq!(cores("0,2-3"), Ok(CoreSpec::Ids(vec![0, 2, 3])));
        assert_eq!(cores("cpu:3,1-2,2"), Ok(CoreSpec::Ids(vec![1, 2, 3])));
        for text in ["0", "-1", "", "a", "1,", "3-1", "cpu:", "1.5", "1-99999", "4097"] {
            assert!(cores(text).is_err(), "{text}");
        }
    }

    #[test]
    fn cores_are_cut_to_what_is_allowed() {
        let count = CoreSpec::Count(3);
        assert_eq!(count.resolve(&[1, 2, 5, 6], None), Ok((vec![1, 2, 5], None)));
        let (cpus, said) = count.resolve(&[1, 5], None).unwrap();
        assert_eq!(cpus, [1, 5]);
        assert_eq!(said.unwrap(), "3 cores are asked for, the affinity mask allows 2: using 2");
        let (cpus, said) = count.resolve(&[0, 1, 2, 3], Some(1.5)).unwrap();
        assert_eq!(cpus, [0, 1]);
        assert!(said.unwrap().contains("cgroup quota"));
        assert_eq!(count.resolve(&[4, 5, 6], Some(0.2)).unwrap().0, [4]);
        assert_eq!(CoreSpec::Ids(vec![5]).resolve(&[1, 5], Some(0.1)), Ok((vec![5], None)));
        let refused = CoreSpec::Ids(vec![0, 5]).resolve(&[1, 2, 3, 5], None).unwrap_err();
        assert_eq!(refused, "CPU 0 is not allowed here; allowed are 1-3,5");
    }
}
