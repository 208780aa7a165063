//! ask: finds the running agent and asks its admin API: what `status` and `jobs` do.
//!
//! Promises: asking takes at most [`TIMEOUT`], or what a destination may take where one is tried; an agent that does not
//! answer is exit 3, a token that it does not take exit 2.
//! Must not know: what is asked.
use crate::api::bind;
use crate::cli::{Exit, complain};
use crate::config::{Config, Secret};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::header::{AUTHORIZATION, CONTENT_TYPE, HOST};
use hyper_util::rt::TokioIo;
use std::net::SocketAddr;
use std::time::Duration;

/// Longest time that an answer may take.
pub const TIMEOUT: Duration = Duration::from_secs(5);
/// The same where the agent asks a destination first.
const TIMEOUT_TRIED: Duration = Duration::from_secs(30);
/// Largest answer that is read: ten thousand jobs.
const ANSWER_BYTES_MAX: usize = 64 << 20;

/// A running agent.
#[derive(Debug)]
pub struct Agent {
    addr: SocketAddr,
    token: Option<Secret>,
}

impl Agent {
    /// Where the agent of these settings should answer. Nobody is asked yet.
    ///
    /// # Errors
    /// It cannot be known; said already.
    pub fn find(config: &Config) -> Result<Agent, Exit> {
        let known = bind::read(&config.state_dir);
        let said = config.api.filter(|addr| addr.port() != 0);
        // An agent of another state directory may listen at the default address: an address that was said comes first.
        let addr = if config.api_said { said.or(known) } else { known.or(said) };
        let Some(addr) = addr else {
            complain(&format!(
                "edgepush: no agent answers: {} does not exist and EDGEPUSH_API gives no address\n",
                config.state_dir.join(bind::ADDR_FILE).display()
            ));
            return Err(Exit::Held);
        };
        Ok(Agent {
            addr: bind::reach(addr),
            token: config.own_token(true).or(config.own_token(false)).cloned(),
        })
    }

    /// Asks: the HTTP status and the body.
    ///
    /// # Errors
    /// No agent answers, or it wants another token; said already.
    pub fn answer(&self, method: &str, path: &str, body: Option<String>) -> Result<(u16, String), Exit> {
        match self.exchange(method, path, body) {
            Ok((401, _)) => {
                complain(&format!(
                    "edgepush: {} asks for its token: set EDGEPUSH_API_TOKEN as the agent has it\n",
                    self.addr
                ));
                Err(Exit::Operator)
            }
            Ok(answer) => Ok(answer),
            Err(error) => {
                complain(&format!("edgepush: no agent answers at {}: {error}\n", self.addr));
                Err(Exit::Held)
            }
        }
    }

    /// Says that whoever answers there is no agent, or of another version.
    pub fn is_none(&self, why: &str) -> Exit {
        complain(&format!("edgepush: {} does not answer like an agent: {why}\n", self.addr));
        Exit::Held
    }

    fn exchange(&self, method: &str, path: &str, body: Option<String>) -> Result<(u16, String), String> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let runtime = runtime.map_err(|error| error.to_string())?;
        let limit = if body.is_some() { TIMEOUT_TRIED } else { TIMEOUT };
        let asking = self.ask(method, path, body);
        runtime
            .block_on(async { tokio::time::timeout(limit, asking).await })
            .unwrap_or_else(|_| Err(format!("nothing came within {} s", limit.as_secs())))
    }

    async fn ask(&self, method: &str, path: &str, body: Option<String>) -> Result<(u16, String), String> {
        let stream = tokio::net::TcpStream::connect(self.addr).await.map_err(|error| error.to_string())?;
        let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream))
            .await
            .map_err(|error| error.to_string())?;
        tokio::spawn(connection);
        let mut request =
            hyper::Request::builder().method(method).uri(path).header(HOST, self.addr.to_string());
        if let Some(token) = &self.token {
            request = request.header(AUTHORIZATION, format!("Bearer {}", token.expose()));
        }
        if body.is_some() {
            request = request.header(CONTENT_TYPE, "application/json");
        }
        let request = request.body(Full::<bytes::Bytes>::from(body.unwrap_or_default()));
        let request = request.map_err(|error| error.to_string())?;
        let response = sender.send_request(request).await.map_err(|error| error.to_string())?;
        let code = response.status().as_u16();
        let body = Limited::new(response.into_body(), ANSWER_BYTES_MAX).collect().await;
        let body = body.map_err(|error| error.to_string())?.to_bytes();
        Ok((code, String::from_utf8_lossy(&body).into_owned()))
    }
}
