//! Azure's own emulator of Blob Storage. It verifies shared keys and signatures of SAS tokens, not their date header.
use super::{BUCKET, ReadBack, Server, cached, free_ports, python, read_back, status_of, tries};
use std::process::Command;

/// The account that the emulator always has; its key is public.
pub const ACCOUNT: &str = "devstoreaccount1";
pub const ACCOUNT_KEY: &str =
    "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";

/// azurite, ready with its container [`BUCKET`].
pub struct Azurite {
    pub server: Server,
    pub port: u16,
}

impl Azurite {
    pub fn start() -> Option<Azurite> {
        let program = cached("azurite", "npm/node_modules/azurite/dist/src/blob/main.js")?;
        cached("azure-storage-blob", "servers-py/bin/python3")?;
        let azurite = tries("azurite", || {
            let dir = Server::folder("azurite");
            let [port] = free_ports();
            let mut command = Command::new("node");
            command.arg(&program).args(["--blobHost", "127.0.0.1", "--blobPort", &port.to_string()]);
            command.args([
                "--inMemoryPersistence",
                "--silent",
                "--disableTelemetry",
                "--skipApiVersionCheck",
            ]);
            let ready = || status_of(port, &format!("/{ACCOUNT}?comp=list")).is_some();
            Some(Azurite { server: Server::start("azurite", dir, &mut command, ready)?, port })
        });
        azurite.make_container(BUCKET);
        Some(azurite)
    }
    /// `http://127.0.0.1:PORT/ACCOUNT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}/{ACCOUNT}", self.port)
    }
    /// Makes another container.
    pub fn make_container(&self, container: &str) {
        python("blob.py", &["make", &self.endpoint(), ACCOUNT_KEY, container]);
    }
    /// A SAS token, without its question mark, for [`BUCKET`], with these permissions (`racwdl`), from an hour ago until
    /// so many seconds from now.
    pub fn sas(&self, permissions: &str, seconds: i64) -> String {
        let seconds = seconds.to_string();
        python("blob.py", &["sas", ACCOUNT, ACCOUNT_KEY, BUCKET, permissions, &seconds]).trim().to_owned()
    }
    /// Everything in [`BUCKET`], read with azure-storage-blob.
    pub fn read_back(&self) -> ReadBack {
        self.read_back_of("")
    }
    /// Everything below a path of it.
    pub fn read_back_of(&self, prefix: &str) -> ReadBack {
        read_back("blob.py", &["fetch", &self.endpoint(), ACCOUNT_KEY, BUCKET, prefix])
    }
}
