//! Real S3 servers for tests, a proxy that sees and spoils what goes through, and a client that is not ours.
//!
//! Promises: a server ends with the test process, and its directory with it; the client is boto3.
//! Must not know: what a test expects.
#![allow(dead_code, reason = "each test file uses its part")]

pub mod proxy;

use serde_json::{Value, json};
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::{Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant};

pub const KEY_ID: &str = "AKIDEDGEPUSHTEST";
pub const SECRET: &str = "edgepush/test+secret=1234567890";

/// A server of its own process group, which ends when this process closes its standard input.
pub struct Server {
    pub port: u16,
    _child: Child,
}

/// Where `.ci/servers` installs the parts.
fn part(name: &str) -> Option<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("a workspace");
    let found = Some(root.join(".cache/servers-py/bin").join(name)).filter(|path| path.exists());
    if found.is_none() {
        eprintln!("SKIPPED: {name} is not installed; .ci/servers does it");
    }
    found
}

pub fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

/// Runs a script with the server in the background as `$p`, in the fresh directory `$D`; both go with this process.
fn server(script: &str, env: &[(&str, &str)], port: u16) -> Server {
    let whole = format!(
        "D=$(mktemp -d) || exit 1; cd \"$D\" || exit 1\n{script}\nread x; kill $p; wait $p; cd /; rm -rf \"$D\""
    );
    let child = Command::new("bash")
        .args(["-c", &whole])
        .envs(env.iter().copied())
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    Server { port, _child: child }
}

fn wait_for(port: u16) {
    let end = Instant::now() + Duration::from_secs(60);
    while TcpStream::connect(("127.0.0.1", port)).is_err() {
        assert!(Instant::now() < end, "the server does not answer");
        std::thread::sleep(Duration::from_millis(50));
    }
}

/// SeaweedFS: checks signatures, conditional puts, clocks, sizes of parts. Of the bucket `127` it answers to
/// 127.0.0.1 alone (virtual host), of all others to localhost.
pub fn weed() -> Option<&'static Server> {
    static WEED: OnceLock<Option<Server>> = OnceLock::new();
    let made = WEED.get_or_init(|| {
        let weed = part("weed")?;
        part("python")?;
        let ports: Vec<u16> = (0..8).map(|_| free_port()).collect();
        let identity = json!({"identities": [{"name": "logs", "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            "credentials": [{"accessKey": KEY_ID, "secretKey": SECRET}]}]});
        let names = ["master.port", "master.port.grpc", "volume.port", "volume.port.grpc", "filer.port",
            "filer.port.grpc", "s3.port", "s3.port.grpc"];
        let flags: Vec<String> =
            names.iter().zip(&ports).map(|(name, port)| format!("-{name}={port}")).collect();
        let script = format!(
            "echo '{identity}' > s3.json; mkdir data; {} server -dir=data -ip=127.0.0.1 -ip.bind=127.0.0.1 -filer -s3 \
             -s3.config=s3.json -s3.domainName=0.0.1 -volume.max=300 -master.volumeSizeLimitMB=64 \
             -master.volumePreallocate=false {} > log 2>&1 & p=$!",
            weed.display(),
            flags.join(" ")
        );
        let server = server(&script, &[], ports[6]);
        wait_for(server.port);
        ready(&server);
        Some(server)
    });
    made.as_ref()
}

/// The gateway of JuiceFS, which is MinIO's: checks signatures, the hash of the body, whether the bucket is there.
pub fn juicefs() -> Option<&'static Server> {
    static JUICE: OnceLock<Option<Server>> = OnceLock::new();
    let made = JUICE.get_or_init(|| {
        let juicefs = part("juicefs")?;
        part("python")?;
        let port = free_port();
        let bin = juicefs.display();
        let script = format!(
            "{bin} format --storage file --bucket $D/data/ sqlite3://$D/meta.db edgelogs > format.log 2>&1 || exit 1\n\
             {bin} gateway --multi-buckets --keep-etag --object-meta --no-banner --cache-dir $D/cache --log $D/gw.log \
             sqlite3://$D/meta.db 127.0.0.1:{port} > log 2>&1 & p=$!"
        );
        let env = [("MINIO_ROOT_USER", KEY_ID), ("MINIO_ROOT_PASSWORD", SECRET)];
        let server = server(&script, &env, port);
        wait_for(port);
        ready(&server);
        Some(server)
    });
    made.as_ref()
}

/// Makes a bucket; a server that has just begun to listen may refuse it for some seconds.
fn ready(server: &Server) {
    let end = Instant::now() + Duration::from_secs(60);
    while try_boto(server.port, &json!({"do": "make", "bucket": "ready"})).is_err() {
        assert!(Instant::now() < end, "the server takes no bucket");
        std::thread::sleep(Duration::from_millis(200));
    }
}

/// What boto3 does for a test, one question a line: `make`, `list`, `get`, `uploads`, and a signature by botocore.
const BOTO: &str = r#"
import sys, json, boto3, botocore.config, botocore.auth, botocore.awsrequest, botocore.credentials
key, secret = sys.argv[1:3]
clients = {}
def client(port):
    if port not in clients:
        clients[port] = boto3.client("s3", endpoint_url=f"http://localhost:{port}", region_name="us-east-1",
            aws_access_key_id=key, aws_secret_access_key=secret, config=botocore.config.Config(
                s3={"addressing_style": "path"}, retries={"max_attempts": 1}, connect_timeout=5, read_timeout=30))
    return clients[port]
def answer(ask):
    do, bucket, s3 = ask["do"], ask.get("bucket"), client(ask["port"])
    if do == "make":
        s3.create_bucket(Bucket=bucket)
    elif do == "list":
        found = s3.list_objects_v2(Bucket=bucket).get("Contents", [])
        return {each["Key"]: {"size": each["Size"], "etag": each["ETag"]} for each in found}
    elif do == "get":
        got = s3.get_object(Bucket=bucket, Key=ask["key"])
        open(ask["to"], "wb").write(got["Body"].read())
        return {"type": got.get("ContentType"), "encoding": got.get("ContentEncoding")}
    elif do == "uploads":
        return [each["Key"] for each in s3.list_multipart_uploads(Bucket=bucket).get("Uploads", [])]
    elif do == "sign":
        keys = botocore.credentials.Credentials(key, secret, ask["token"])
        request = botocore.awsrequest.AWSRequest(ask["method"], ask["url"], headers=ask["headers"])
        request.context["timestamp"] = ask["at"]
        auth = botocore.auth.S3SigV4Auth(keys, "s3", ask["region"])
        return auth.signature(auth.string_to_sign(request, auth.canonical_request(request)), request)
for line in sys.stdin:
    try:
        said = {"ok": answer(json.loads(line))}
    except Exception as error:
        said = {"error": repr(error)}
    print(json.dumps(said), flush=True)
"#;

/// The other side of boto3's process, which ends with this one.
struct Boto {
    _child: Child,
    asks: ChildStdin,
    answers: BufReader<ChildStdout>,
}

fn try_boto(port: u16, ask: &Value) -> Result<Value, String> {
    static RUNNING: OnceLock<Mutex<Boto>> = OnceLock::new();
    let running = RUNNING.get_or_init(|| {
        let mut child = Command::new(part("python").expect("it was looked for"))
            .args(["-c", BOTO, KEY_ID, SECRET])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let (asks, answers) = (child.stdin.take().unwrap(), child.stdout.take().unwrap());
        Mutex::new(Boto { _child: child, asks, answers: BufReader::new(answers) })
    });
    let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
    let mut ask = ask.clone();
    ask["port"] = port.into();
    writeln!(running.asks, "{ask}").unwrap();
    let mut line = String::new();
    running.answers.read_line(&mut line).unwrap();
    let mut said: Value = serde_json::from_str(&line).map_err(|e| format!("boto3 said nothing: {e}"))?;
    match said.get("error") {
        Some(why) => Err(why.to_string()),
        None => Ok(said["ok"].take()),
    }
}

pub fn boto(port: u16, ask: &Value) -> Value {
    try_boto(port, ask).unwrap_or_else(|why| panic!("{ask}: {why}"))
}

impl Server {
    pub fn make(&self, bucket: &str) {
        boto(self.port, &json!({"do": "make", "bucket": bucket}));
    }
    /// Keys, sizes and entity tags of all objects.
    pub fn list(&self, bucket: &str) -> Value {
        boto(self.port, &json!({"do": "list", "bucket": bucket}))
    }
    pub fn keys(&self, bucket: &str) -> Vec<String> {
        self.list(bucket).as_object().unwrap().keys().cloned().collect()
    }
    /// The body of an object, its type and its encoding.
    pub fn get(&self, bucket: &str, key: &str) -> (Vec<u8>, String, Value) {
        let file = tempfile::NamedTempFile::new().unwrap();
        let got = boto(self.port, &json!({"do": "get", "bucket": bucket, "key": key, "to": file.path()}));
        let body = std::fs::read(file.path()).unwrap();
        (body, got["type"].as_str().unwrap_or("").to_owned(), got["encoding"].clone())
    }
    /// Keys of uploads in parts that were neither completed nor aborted.
    pub fn uploads(&self, bucket: &str) -> Value {
        boto(self.port, &json!({"do": "uploads", "bucket": bucket}))
    }
}
