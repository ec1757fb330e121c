//! The load generator of requests: one thread on one TCP connection that speaks NATS' protocol itself, because a
//! client library would take more of the machine than what is measured.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use crate::{Failure, Outcome};

/// Requests that are sent, always as many in flight as wanted.
pub(crate) struct Load {
    stream: TcpStream,
    /// What was read and not yet understood.
    read: Vec<u8>,
    /// What each answer must be, if they are all the same.
    answer: Option<Vec<u8>>,
    /// Asked in turns.
    subjects: Vec<String>,
    asked: usize,
    /// Where answers come to this connection alone.
    inbox: String,
    payload: String,
    /// When each request in flight was sent.
    sent: Vec<Instant>,
}

/// What came of a load.
pub(crate) struct Answers {
    pub(crate) count: usize,
    pub(crate) took: Duration,
    /// In the order of their arrival.
    latencies: Vec<Duration>,
}

impl Answers {
    pub(crate) fn a_second(&self) -> f64 {
        self.count as f64 / self.took.as_secs_f64()
    }

    /// Latency below which this share of the answers was, in microseconds.
    pub(crate) fn latency(&self, share: f64) -> f64 {
        let mut sorted = self.latencies.clone();
        sorted.sort();
        let at = (sorted.len() as f64 * share) as usize;
        sorted
            .get(at.min(sorted.len().saturating_sub(1)))
            .map_or(f64::NAN, |time| time.as_secs_f64() * 1e6)
    }
}

/// The header of an error reply.
const ERROR: &[u8] = b"Nats-Service-Error";

/// For how long an answer may stay away.
const PATIENCE: Duration = Duration::from_secs(5);

impl Load {
    /// Connects to the server. Each request has this payload, each answer must be that one.
    pub(crate) fn connect(url: &str, subject: &str, payload: &str, answer: &str) -> Outcome<Self> {
        let load = Self::open(url, "", vec![subject.to_owned()], payload)?;
        let answer = Some(answer.as_bytes().to_vec());
        Ok(Self { answer, ..load })
    }

    /// Connects as a user whose password is the name, to ask these subjects in turns. Each answer must be a good
    /// one.
    pub(crate) fn connect_as(user: &str, url: &str, subjects: Vec<String>) -> Outcome<Self> {
        let login = format!(r#""user":"{user}","pass":"{user}","#);
        Self::open(url, &login, subjects, "")
    }

    fn open(url: &str, login: &str, subjects: Vec<String>, payload: &str) -> Outcome<Self> {
        let stream = TcpStream::connect(url.trim_start_matches("nats://"))?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let mut load = Self {
            stream,
            read: Vec::with_capacity(1 << 20),
            answer: None,
            subjects,
            asked: 0,
            inbox: format!("_INBOX.load{:x}", fastrand::u64(..)),
            payload: payload.to_owned(),
            sent: Vec::new(),
        };
        let options = r#""verbose":false,"pedantic":false,"headers":true,"no_responders":true,"lang":"bench","version":"0","protocol":1"#;
        let connect = format!("CONNECT {{{login}{options}}}");
        load.stream.write_all(connect.as_bytes())?;
        let subscribe = format!("\r\nSUB {}.* 1\r\n", load.inbox);
        load.stream.write_all(subscribe.as_bytes())?;
        Ok(load)
    }

    /// Returns once a request is answered.
    pub(crate) fn ready(&mut self) -> Outcome {
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            match self.run(1, Duration::ZERO) {
                Ok(_) => return Ok(()),
                Err(error) if Instant::now() > deadline => return Err(error),
                Err(_) => std::thread::sleep(Duration::from_millis(20)),
            }
        }
    }

    /// Keeps `in_flight` requests under way for this time, and then waits for the last answers, which do not count.
    pub(crate) fn run(&mut self, in_flight: usize, time: Duration) -> Outcome<Answers> {
        self.sent = vec![Instant::now(); in_flight];
        let mut output = Vec::new();
        for slot in 0..in_flight {
            self.request(&mut output, slot);
        }
        let start = Instant::now();
        self.stream.write_all(&output)?;
        let (mut latencies, mut open, mut count, mut took) =
            (Vec::new(), in_flight, 0, Duration::ZERO);
        let mut buffer = vec![0; 1 << 18];
        while open > 0 {
            let n = match self.stream.read(&mut buffer) {
                Ok(0) => return Err("the server closed the connection".into()),
                Ok(n) => n,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    return Err(format!("{open} requests were not answered").into());
                }
                Err(error) => return Err(error.into()),
            };
            let mut read = std::mem::take(&mut self.read);
            read.extend_from_slice(&buffer[..n]);
            let now = Instant::now();
            let goes_on = now - start < time;
            output.clear();
            let mut used = 0;
            while let Some((frame, length)) = parse(&read[used..])? {
                used += length;
                match frame {
                    Frame::Answer {
                        slot,
                        payload,
                        is_error: false,
                    } if self.answer.as_ref().is_none_or(|it| it == payload) => {
                        if goes_on || count == 0 {
                            latencies.push(now - self.sent[slot]);
                            (count, took) = (count + 1, now - start);
                        }
                        if goes_on {
                            self.sent[slot] = now;
                            self.request(&mut output, slot);
                        } else {
                            open -= 1;
                        }
                    }
                    Frame::Answer { payload, .. } => {
                        let payload = String::from_utf8_lossy(payload).into_owned();
                        read.drain(..used);
                        self.read = read;
                        return Err(format!("answered {payload:?}").into());
                    }
                    Frame::Ping => output.extend_from_slice(b"PONG\r\n"),
                    Frame::Other => {}
                }
            }
            read.drain(..used);
            self.read = read;
            self.stream.write_all(&output)?;
        }
        Ok(Answers {
            count,
            took,
            latencies,
        })
    }

    fn request(&mut self, output: &mut Vec<u8>, slot: usize) {
        self.asked += 1;
        let Self {
            subjects,
            asked,
            inbox,
            payload,
            ..
        } = self;
        let subject = &subjects[*asked % subjects.len()];
        let length = payload.len();
        let frame = format!("PUB {subject} {inbox}.{slot} {length}\r\n{payload}\r\n");
        output.extend_from_slice(frame.as_bytes());
    }
}

enum Frame<'a> {
    Answer {
        slot: usize,
        payload: &'a [u8],
        is_error: bool,
    },
    Ping,
    Other,
}

/// The first frame and its length, if the bytes hold it whole.
fn parse(bytes: &[u8]) -> Outcome<Option<(Frame<'_>, usize)>> {
    let Some(end) = bytes.windows(2).position(|pair| pair == b"\r\n") else {
        return Ok(None);
    };
    let line = std::str::from_utf8(&bytes[..end])?;
    let after = end + 2;
    let mut words = line.split(' ');
    match words.next() {
        Some("MSG" | "HMSG") => {
            let wrong = || Failure::from(format!("unreadable: {line}"));
            let slot = words.next().and_then(|subject| subject.rsplit('.').next());
            let slot = slot.and_then(|slot| slot.parse().ok()).ok_or_else(wrong)?;
            let length = words.next_back().and_then(|length| length.parse().ok());
            let length: usize = length.ok_or_else(wrong)?;
            if bytes.len() < after + length + 2 {
                return Ok(None);
            }
            let headers = match words.next_back().filter(|_| line.starts_with('H')) {
                Some(headers) => headers.parse()?,
                None => 0,
            };
            let (headers, payload) = bytes[after..after + length].split_at(headers);
            let answer = Frame::Answer {
                slot,
                payload,
                // A status, or natsfn's error reply.
                is_error: headers.starts_with(b"NATS/1.0 ")
                    || headers.windows(ERROR.len()).any(|part| part == ERROR),
            };
            Ok(Some((answer, after + length + 2)))
        }
        Some("PING") => Ok(Some((Frame::Ping, after))),
        Some("-ERR") => Err(line.into()),
        _ => Ok(Some((Frame::Other, after))),
    }
}
