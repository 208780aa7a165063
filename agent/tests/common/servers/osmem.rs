//! osmem: a server of OpenSearch's API with its real bulk semantics. It asks for no credentials: nginx before it does.
use super::{ReadBack, Server, free_ports, packaged, python, read_back, status_of, tries};
use std::process::Command;

/// osmem, ready and empty.
pub struct Osmem {
    pub server: Server,
    pub port: u16,
}

impl Osmem {
    pub fn start() -> Option<Osmem> {
        let program = packaged("osmem", "osmem_server/bin/osmem-server")?;
        Some(tries("osmem", || {
            let [port] = free_ports();
            let mut command = Command::new(&program);
            // Without the last flag it ends with its standard input.
            command.args(["-addr", &format!("127.0.0.1:{port}"), "-no-stdin-watch"]);
            let dir = Server::folder("osmem");
            let ready = || status_of(port, "/") == Some(200);
            Some(Osmem { server: Server::start("osmem", dir, &mut command, ready)?, port })
        }))
    }
    /// `http://127.0.0.1:PORT`.
    pub fn endpoint(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }
    /// Makes an index whose mapping is this JSON.
    pub fn make_index(&self, index: &str, mapping: &str) {
        python("elastic.py", &["make", &self.endpoint(), index, mapping]);
    }
    /// Every document of the indexes that this pattern names, read with opensearch-py: `INDEX/documents.log` holds one
    /// source a line. It says `documents`, `ids` (distinct) and `indexes`, too.
    pub fn read_back(&self, pattern: &str) -> ReadBack {
        read_back("elastic.py", &["fetch", &self.endpoint(), pattern])
    }
}
