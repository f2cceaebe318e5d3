//! The local socket: how the command line speaks to a gateway that runs beside it.
//!
//! It lies beside the store, is closed to other users (mode 0600), and whoever connects is asked of the kernel: only the user
//! that keygate runs as, and root, are heard. What they may do they could do with the store's file as well.

use std::io;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use thiserror::Error;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

use super::{AdminApi, Caller};

/// Connections at a time; more wait.
const MAX_CONNECTIONS: usize = 32;
/// The time for the head of a request, and between requests.
const HEAD_TIMEOUT: Duration = Duration::from_secs(60);

/// Where the socket of a store lies.
#[must_use]
pub fn path_of(store: &Path) -> PathBuf {
    let mut name = store.as_os_str().to_owned();
    name.push(".sock");
    name.into()
}

/// Another gateway answers on this store's socket.
#[derive(Debug, Clone, Copy, Error)]
#[error("another keygate serves this store")]
pub struct AlreadyServed;

/// The local socket, bound. Its file goes with it, unless it was passed on.
#[derive(Debug)]
pub struct LocalSocket {
    listener: std::os::unix::net::UnixListener,
    path: PathBuf,
    owner: u32,
    is_passed_on: Arc<AtomicBool>,
}

impl LocalSocket {
    /// Binds the socket of a store. One that a gateway left behind that is gone is replaced.
    ///
    /// # Errors
    /// Where the file cannot be made; or, within, that another gateway serves it.
    pub fn bind(store: &Path) -> io::Result<Result<Self, AlreadyServed>> {
        let path = path_of(store);
        if std::os::unix::net::UnixStream::connect(&path).is_ok() {
            return Ok(Err(AlreadyServed));
        }
        match std::fs::symlink_metadata(&path) {
            Ok(found) if std::os::unix::fs::FileTypeExt::is_socket(&found.file_type()) => std::fs::remove_file(&path)?,
            Ok(_) => return Err(io::Error::other("a file of that name is there, and is no socket")),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        let listener = std::os::unix::net::UnixListener::bind(&path)?;
        // Until here others might have connected; they are asked who they are all the same.
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o600))?;
        listener.set_nonblocking(true)?;
        let owner = std::fs::symlink_metadata(&path)?.uid();
        Ok(Ok(Self { listener, path, owner, is_passed_on: Arc::default() }))
    }

    /// The socket of a store as another process has bound it. The file stays: it may still be the other's.
    ///
    /// # Errors
    /// The file is not there, or the socket cannot be made ready.
    pub fn inherit(listener: std::os::unix::net::UnixListener, store: &Path) -> io::Result<Self> {
        let path = path_of(store);
        let owner = std::fs::symlink_metadata(&path)?.uid();
        listener.set_nonblocking(true)?;
        Ok(Self { listener, path, owner, is_passed_on: Arc::new(AtomicBool::new(true)) })
    }

    /// Another handle to the socket, and what to set when it has become another process's: its file is left then.
    ///
    /// # Errors
    /// The system gives no descriptor.
    pub fn handle(&self) -> io::Result<(std::os::unix::net::UnixListener, Arc<AtomicBool>)> {
        Ok((self.listener.try_clone()?, Arc::clone(&self.is_passed_on)))
    }

    /// Where it lies.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Answers until `end` completes.
    ///
    /// # Errors
    /// There is no runtime to serve on.
    pub async fn serve(self, api: AdminApi, end: impl Future<Output = ()>) -> io::Result<()> {
        let listener = UnixListener::from_std(self.listener.try_clone()?)?;
        let permits = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        let mut end = std::pin::pin!(end);
        loop {
            let accepted = tokio::select! {
                biased;
                () = &mut end => return Ok(()),
                accepted = async {
                    // The semaphore is never closed.
                    let permit = Arc::clone(&permits).acquire_owned().await.map_err(io::Error::other)?;
                    listener.accept().await.map(|(stream, _)| (stream, permit))
                } => accepted,
            };
            match accepted {
                Ok((stream, permit)) => {
                    let Some(user) = self.user_of(&stream) else { continue };
                    let api = api.clone();
                    tokio::spawn(async move {
                        connection(stream, api, user).await;
                        drop(permit);
                    });
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on the local socket");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            }
        }
    }

    /// The name of whoever connected, if they are heard.
    fn user_of(&self, stream: &UnixStream) -> Option<String> {
        let user = stream.peer_cred().ok()?.uid();
        if user != self.owner && user != 0 {
            tracing::warn!(user, "a user of this machine who may not connected to the local socket");
            return None;
        }
        Some(user_name(user))
    }
}

impl Drop for LocalSocket {
    fn drop(&mut self) {
        if !self.is_passed_on.load(Ordering::Relaxed) {
            // What stays behind is replaced at the next start.
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

async fn connection(stream: UnixStream, api: AdminApi, user: String) {
    let service = service_fn(|request: http::Request<hyper::body::Incoming>| {
        let (api, user) = (api.clone(), user.clone());
        async move {
            let mut request = request.map(axum::body::Body::new);
            request.extensions_mut().insert(Caller::Local(user));
            Ok::<_, std::convert::Infallible>(api.answer(request).await)
        }
    });
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
    if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
        tracing::debug!(%error, "a connection on the local socket failed");
    }
}

/// The name of a user of this machine, for the audit log; the number if there is no name.
pub(crate) fn user_name(user: u32) -> String {
    let number = user.to_string();
    let users = std::fs::read_to_string("/etc/passwd").unwrap_or_default();
    let name = users.lines().find_map(|line| {
        let mut fields = line.split(':');
        let (name, _, found) = (fields.next()?, fields.next()?, fields.next()?);
        (found == number && !name.is_empty()).then(|| name.to_owned())
    });
    name.unwrap_or(number)
}
