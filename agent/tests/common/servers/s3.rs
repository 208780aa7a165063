//! Two servers of the S3 protocol that verify signatures: SeaweedFS, and JuiceFS with MinIO's own gateway code.
//!
//! SeaweedFS knows conditional writes, checksums, virtual hosts and the smallest part; it makes a bucket that is missing
//! and does not compare the payload's hash. JuiceFS compares it and refuses a missing bucket, but overwrites whatever
//! `If-None-Match` says and loses `Content-Encoding`. Only both together tell what S3 would.
use super::{BUCKET, ReadBack, Server, cached, free_ports, python, read_back, status_of, tries};
use std::ops::Deref;
use std::process::Command;

pub const ACCESS_KEY: &str = "edgepush-tests";
pub const SECRET_KEY: &str = "s3cr3t-of-the-tests";

/// What both have in common: keys [`ACCESS_KEY`] and [`SECRET_KEY`], the bucket [`BUCKET`], any region.
pub struct S3 {
    pub server: Server,
    pub port: u16,
}

impl S3 {
    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
    /// The endpoint under a name, for virtual hosts `bucket.s3.localhost`.
    pub fn domain(&self) -> String {
        format!("http://s3.localhost:{}", self.port)
    }
    /// Makes another bucket.
    pub fn make_bucket(&self, bucket: &str) {
        python("s3.py", &["make", &self.endpoint(), ACCESS_KEY, SECRET_KEY, bucket]);
    }
    /// Everything below a prefix of a bucket, read with boto3.
    pub fn read_back_of(&self, bucket: &str, prefix: &str) -> ReadBack {
        read_back("s3.py", &["fetch", &self.endpoint(), ACCESS_KEY, SECRET_KEY, bucket, prefix])
    }
    /// Everything in [`BUCKET`], read with boto3.
    pub fn read_back(&self) -> ReadBack {
        self.read_back_of(BUCKET, "")
    }
}

/// SeaweedFS, ready with its bucket.
pub struct Weed(S3);

impl Deref for Weed {
    type Target = S3;
    fn deref(&self) -> &S3 {
        &self.0
    }
}

impl Weed {
    pub fn start() -> Option<Weed> {
        let program = cached("SeaweedFS", "servers-py/bin/weed")?;
        let s3 = tries("SeaweedFS", || {
            let dir = Server::folder("weed");
            let ports: [u16; 8] = free_ports();
            let identity = serde_json::json!({"identities": [{
                "name": "tests",
                "credentials": [{"accessKey": ACCESS_KEY, "secretKey": SECRET_KEY}],
                "actions": ["Admin", "Read", "Write", "List", "Tagging"],
            }]});
            std::fs::write(dir.path().join("s3.json"), identity.to_string()).unwrap();
            std::fs::create_dir(dir.path().join("data")).unwrap();
            let at = dir.path().display().to_string();
            let mut command = Command::new(&program);
            // A bucket takes some seven volumes: too few of them are answered with 500.
            command.args([
                "server",
                "-ip=127.0.0.1",
                "-ip.bind=127.0.0.1",
                "-filer",
                "-s3",
                "-volume.max=300",
            ]);
            command.args(["-master.volumeSizeLimitMB=64", "-master.volumePreallocate=false"]);
            command.args(["-master.telemetry=false", "-s3.port.iceberg=0", "-s3.port.lance=0"]);
            command.args([format!("-dir={at}/data"), format!("-s3.config={at}/s3.json")]);
            command.args([
                format!("-s3.localSocket={at}/s3.sock"),
                format!("-filer.localSocket={at}/filer.sock"),
            ]);
            command.arg("-s3.domainName=s3.localhost");
            let names = ["s3", "filer", "master", "volume"];
            for (name, pair) in names.iter().zip(ports.chunks(2)) {
                command.args([format!("-{name}.port={}", pair[0]), format!("-{name}.port.grpc={}", pair[1])]);
            }
            // It puts its sockets there, whatever it is told.
            let sockets = names.iter().zip(ports.chunks(2));
            let _ = std::fs::write(
                dir.path().join("sockets"),
                sockets.map(|(n, p)| format!("/tmp/seaweedfs-{n}-grpc-{}.sock\n", p[1])).collect::<String>(),
            );
            let ready = || status_of(ports[0], "/healthz") == Some(200);
            Some(S3 { server: Server::start("SeaweedFS", dir, &mut command, ready)?, port: ports[0] })
        });
        // Its parts get to know each other only some time after they answer: this waits for it.
        s3.make_bucket(BUCKET);
        Some(Weed(s3))
    }
}

impl Drop for Weed {
    fn drop(&mut self) {
        let sockets = std::fs::read_to_string(self.0.server.dir().join("sockets")).unwrap_or_default();
        for socket in sockets.lines() {
            let _ = std::fs::remove_file(socket);
        }
    }
}

/// The S3 gateway of JuiceFS, ready with its bucket.
pub struct JuiceFs(S3);

impl Deref for JuiceFs {
    type Target = S3;
    fn deref(&self) -> &S3 {
        &self.0
    }
}

impl JuiceFs {
    pub fn start() -> Option<JuiceFs> {
        let program = cached("JuiceFS", "servers-py/bin/juicefs")?;
        let s3 = tries("JuiceFS", || {
            let dir = Server::folder("juicefs");
            let at = dir.path().display().to_string();
            let meta = format!("sqlite3://{at}/meta.db");
            let format = Command::new(&program)
                .args(["format", "--storage", "file", "--bucket", &format!("{at}/data/"), &meta, "tests"])
                .current_dir(dir.path())
                .output()
                .unwrap();
            assert!(format.status.success(), "juicefs format: {}", String::from_utf8_lossy(&format.stderr));
            let [port, metrics] = free_ports();
            let mut command = Command::new(&program);
            command.env("MINIO_ROOT_USER", ACCESS_KEY).env("MINIO_ROOT_PASSWORD", SECRET_KEY);
            command.args(["gateway", "--multi-buckets", "--keep-etag", "--object-meta", "--no-banner"]);
            command.args(["--no-usage-report", "--metrics", &format!("127.0.0.1:{metrics}")]);
            command.args(["--domain", "s3.localhost", "--cache-dir", &format!("{at}/cache")]);
            command.args(["--log", &format!("{at}/gateway.log"), &meta, &format!("127.0.0.1:{port}")]);
            let ready = || status_of(port, "/") == Some(403);
            Some(S3 { server: Server::start("JuiceFS", dir, &mut command, ready)?, port })
        });
        s3.make_bucket(BUCKET);
        Some(JuiceFs(s3))
    }
}
