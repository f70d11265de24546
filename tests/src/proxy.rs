//! A proxy between a client and its server that reads the protocol along, can forge what the server sends, and can be cut,
//! stalled and pointed at another server while connections go through it.

use std::io::{self, Read, Write};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use runtime::sync::Mutex;
use wal::Lsn;

const SSL_REQUEST: u32 = 80_877_103;
const GSSENC_REQUEST: u32 = 80_877_104;

/// A message from the server: its type, and the body after its length.
pub struct Message {
    /// The type byte.
    pub kind: u8,
    /// What follows the length.
    pub body: Vec<u8>,
}

/// What becomes of a message from the server.
pub enum Verdict {
    /// It goes through as it is.
    Pass,
    /// These bytes go to the client in its place.
    Replace(Vec<u8>),
    /// These bytes go to the client in its place, and then the connection is cut.
    ReplaceAndCut(Vec<u8>),
    /// These bytes go to the client in its place, and then nothing more, while the connection stays open.
    ReplaceAndHang(Vec<u8>),
}

impl Message {
    /// With that WAL in an XLogData message, the server's end and clock as given.
    pub fn wal(start: Lsn, end: u64, time: u64, wal: &[u8]) -> Self {
        let mut body = vec![b'w'];
        for number in [start.as_u64(), end, time] {
            body.extend_from_slice(&number.to_be_bytes());
        }
        body.extend_from_slice(wal);
        Self { kind: b'd', body }
    }

    /// Where the WAL in it starts, and the WAL, if this is an XLogData message.
    pub fn as_wal(&self) -> Option<(Lsn, &[u8])> {
        let is_wal = self.kind == b'd' && self.body.first() == Some(&b'w');
        let start = self.number(1).filter(|_| is_wal)?;
        Some((Lsn::new(start), self.body.get(25..)?))
    }

    /// The same message with other WAL in it.
    pub fn with_wal(&self, start: Lsn, wal: &[u8]) -> Self {
        Self::wal(start, self.number(9).unwrap_or(0), self.number(17).unwrap_or(0), wal)
    }

    /// As it goes over the wire.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![self.kind];
        bytes.extend_from_slice(&(self.body.len() as u32 + 4).to_be_bytes());
        bytes.extend_from_slice(&self.body);
        bytes
    }

    fn number(&self, at: usize) -> Option<u64> {
        Some(u64::from_be_bytes(self.body.get(at..at + 8)?.try_into().ok()?))
    }

    fn read(from: &mut impl Read) -> io::Result<Self> {
        let mut header = [0; 5];
        from.read_exact(&mut header)?;
        let [kind, length @ ..] = header;
        let mut body = vec![0; (u32::from_be_bytes(length) as usize).saturating_sub(4)];
        from.read_exact(&mut body)?;
        Ok(Self { kind, body })
    }
}

type Tamper = Box<dyn FnMut(&Message) -> Verdict + Send>;

struct Shared {
    upstream: AtomicU16,
    stopped: AtomicBool,
    /// New connections are closed at once.
    cut: AtomicBool,
    /// What is sent stays where it is, in either direction.
    stalled: AtomicBool,
    /// The highest positions that clients have reported as written and as flushed.
    written: AtomicU64,
    flushed: AtomicU64,
    connections: AtomicU64,
    tamper: Mutex<Tamper>,
    sockets: Mutex<Vec<TcpStream>>,
}

/// Listens on a port of the loopback interface and passes everything on to the server's port, without TLS.
pub struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

impl Proxy {
    /// In front of the server on that port; `tamper` judges each of its messages.
    #[track_caller]
    pub fn start(upstream: u16, tamper: impl FnMut(&Message) -> Verdict + Send + 'static) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        let shared = Arc::new(Shared {
            upstream: AtomicU16::new(upstream),
            stopped: AtomicBool::new(false),
            cut: AtomicBool::new(false),
            stalled: AtomicBool::new(false),
            written: AtomicU64::new(0),
            flushed: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            tamper: Mutex::new(Box::new(tamper)),
            sockets: Mutex::new(Vec::new()),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || {
            for client in listener.incoming().map_while(Result::ok) {
                if accepting.stopped.load(Ordering::Relaxed) {
                    break;
                }
                if accepting.cut.load(Ordering::SeqCst) {
                    continue;
                }
                let shared = Arc::clone(&accepting);
                shared.connections.fetch_add(1, Ordering::Relaxed);
                // An error is the end of a connection, on either side.
                thread::spawn(move || shared.serve(client));
            }
        });
        Self { port, shared }
    }

    /// The port that it listens on.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Sends new connections to the server on that port, and cuts those there are.
    pub fn point_at(&self, upstream: u16) {
        self.shared.upstream.store(upstream, Ordering::SeqCst);
        self.shared.close_all();
    }

    /// Cuts all connections, and refuses new ones, until [`Proxy::mend`].
    pub fn cut(&self) {
        self.shared.cut.store(true, Ordering::SeqCst);
        self.shared.close_all();
    }

    /// Passes nothing on any more, and closes nothing, until [`Proxy::mend`]: the other side is there and says nothing.
    pub fn stall(&self) {
        self.shared.stalled.store(true, Ordering::SeqCst);
    }

    /// Undoes [`Proxy::cut`] and [`Proxy::stall`].
    pub fn mend(&self) {
        self.shared.cut.store(false, Ordering::SeqCst);
        self.shared.stalled.store(false, Ordering::SeqCst);
    }

    /// What clients connect with to go through it.
    pub fn conninfo(&self) -> String {
        format!("host=127.0.0.1 port={} user=postgres", self.port)
    }

    /// Up to where clients have said that they have flushed.
    pub fn flushed(&self) -> Lsn {
        Lsn::new(self.shared.flushed.load(Ordering::SeqCst))
    }

    /// Up to where clients have said that they have written.
    pub fn written(&self) -> Lsn {
        Lsn::new(self.shared.written.load(Ordering::SeqCst))
    }

    /// How many connections there were.
    pub fn connections(&self) -> u64 {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.stopped.store(true, Ordering::Relaxed);
        self.shared.stalled.store(false, Ordering::SeqCst);
        let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port));
        self.shared.close_all();
    }
}

impl Shared {
    fn close_all(&self) {
        for socket in self.sockets.lock().drain(..) {
            let _ = socket.shutdown(Shutdown::Both);
        }
    }

    /// Returns once nothing is stalled.
    fn wait_while_stalled(&self) {
        while self.stalled.load(Ordering::SeqCst) && !self.stopped.load(Ordering::Relaxed) {
            thread::sleep(Duration::from_millis(2));
        }
    }

    fn serve(self: Arc<Self>, mut client: TcpStream) -> io::Result<()> {
        let startup = startup_packet(&mut client)?;
        self.wait_while_stalled();
        let mut server = TcpStream::connect((Ipv4Addr::LOCALHOST, self.upstream.load(Ordering::SeqCst)))?;
        server.write_all(&startup)?;
        for socket in [&client, &server] {
            socket.set_nodelay(true)?;
            let kept = socket.try_clone()?;
            self.sockets.lock().push(kept);
        }
        if self.cut.load(Ordering::SeqCst) {
            self.close_all();
            return Ok(());
        }
        let (from_client, to_server) = (client.try_clone()?, server.try_clone()?);
        let listening = Arc::clone(&self);
        thread::spawn(move || {
            let _ = listening.client_to_server(&from_client, &to_server);
            let _ = to_server.shutdown(Shutdown::Both);
            let _ = from_client.shutdown(Shutdown::Both);
        });
        let ended = self.server_to_client(&server, &client);
        let _ = client.shutdown(Shutdown::Both);
        let _ = server.shutdown(Shutdown::Both);
        ended
    }

    fn client_to_server(&self, mut client: &TcpStream, mut server: &TcpStream) -> io::Result<()> {
        loop {
            let message = Message::read(&mut client)?;
            if message.kind == b'd' && message.body.first() == Some(&b'r') {
                self.written.fetch_max(message.number(1).unwrap_or(0), Ordering::SeqCst);
                self.flushed.fetch_max(message.number(9).unwrap_or(0), Ordering::SeqCst);
            }
            self.wait_while_stalled();
            server.write_all(&message.encode())?;
        }
    }

    fn server_to_client(&self, mut server: &TcpStream, mut client: &TcpStream) -> io::Result<()> {
        loop {
            let message = Message::read(&mut server)?;
            self.wait_while_stalled();
            let verdict = self.tamper.lock()(&message);
            match verdict {
                Verdict::Pass => client.write_all(&message.encode())?,
                Verdict::Replace(bytes) => client.write_all(&bytes)?,
                Verdict::ReplaceAndCut(bytes) => return client.write_all(&bytes),
                Verdict::ReplaceAndHang(bytes) => {
                    client.write_all(&bytes)?;
                    // Ends once the client has ended the connection and so the server has, too.
                    return io::copy(&mut server, &mut io::sink()).map(drop);
                }
            }
        }
    }
}

/// The client's startup packet; asked for encryption before, we say no.
fn startup_packet(client: &mut TcpStream) -> io::Result<Vec<u8>> {
    loop {
        let mut start = [0; 8];
        client.read_exact(&mut start)?;
        let [a, b, c, d, code @ ..] = start;
        match u32::from_be_bytes(code) {
            SSL_REQUEST | GSSENC_REQUEST => client.write_all(b"N")?,
            _ => {
                let mut packet = vec![0; (u32::from_be_bytes([a, b, c, d]) as usize).max(8)];
                let (head, rest) = packet.split_at_mut(8);
                head.copy_from_slice(&start);
                client.read_exact(rest)?;
                return Ok(packet);
            }
        }
    }
}
