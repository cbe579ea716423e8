//! `FQNNames`: sensor names -> full DNS names, asked for by a thread of their own and cached, for a resolver that hangs
//! must hold up neither the socket nor a mail for long.

#![forbid(unsafe_code)]

use crossbeam_channel::{Receiver, Sender, bounded};
use dns_lookup::{AddrInfoHints, getaddrinfo, lookup_addr};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

/// Names that are remembered; sensors are fewer, so more are invented ones.
const NAMES_MAX: usize = 1000;
/// How long an answer counts.
const FRESH: Duration = Duration::from_secs(3600);
/// All names of a mail together get so much time; what comes later is for the next mail.
const WAIT_MAX: Duration = Duration::from_secs(5);
/// Questions that wait.
const QUESTIONS_MAX: usize = 100;
/// RFC 1035.
const NAME_BYTES_MAX: usize = 253;
/// `AI_CANONNAME` of netdb.h: the same on Linux and the BSDs.
const AI_CANONNAME: i32 = 2;

/// The asking side.
pub(super) struct Names {
    questions: Sender<String>,
    answers: Receiver<(String, Option<String>)>,
    cache: HashMap<String, (Instant, Option<String>)>,
}

/// The thread's side.
pub(super) struct Resolver {
    questions: Receiver<String>,
    answers: Sender<(String, Option<String>)>,
}

/// Both sides.
pub(super) fn pair() -> (Names, Resolver) {
    let (questions, asked) = bounded(QUESTIONS_MAX);
    let (answers, answered) = bounded(QUESTIONS_MAX);
    let names = Names {
        questions,
        answers: answered,
        cache: HashMap::new(),
    };
    let resolver = Resolver {
        questions: asked,
        answers,
    };
    (names, resolver)
}

impl Names {
    /// When a mail that is begun now stops waiting for names.
    pub(super) fn deadline() -> Instant {
        Instant::now() + WAIT_MAX
    }

    /// The full name, or the name as it is where none is known by `deadline`.
    pub(super) fn full(&mut self, name: &str, deadline: Instant) -> String {
        if !is_host_name(name) {
            return name.to_owned();
        }
        let fresh = |(at, _): &&(Instant, _)| at.elapsed() < FRESH;
        if !self.cache.get(name).as_ref().is_some_and(fresh) {
            self.ask(name, deadline);
        }
        match self.cache.get(name) {
            Some((_, Some(full))) => full.clone(),
            _ => name.to_owned(),
        }
    }

    fn ask(&mut self, name: &str, deadline: Instant) {
        if self.cache.len() >= NAMES_MAX {
            self.cache.clear();
        }
        if Instant::now() >= deadline || self.questions.try_send(name.to_owned()).is_err() {
            return;
        }
        while let Ok((asked, full)) = self.answers.recv_deadline(deadline) {
            let found = asked == name;
            self.cache.insert(asked, (Instant::now(), full));
            if found {
                return;
            }
        }
    }
}

impl Resolver {
    /// Until the asking side is gone.
    pub(super) fn run(self) {
        for name in &self.questions {
            let full = resolve(&name);
            if self.answers.send((name, full)).is_err() {
                return;
            }
        }
    }
}

/// A sensor's name comes from outside: what is no host name is no question for a DNS server.
fn is_host_name(name: &str) -> bool {
    let letter = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.:".contains(&byte);
    !name.is_empty() && name.len() <= NAME_BYTES_MAX && name.bytes().all(letter)
}

fn resolve(name: &str) -> Option<String> {
    let full = match name.parse::<IpAddr>() {
        Ok(address) => lookup_addr(&address).ok()?,
        Err(_) => {
            let hints = AddrInfoHints {
                flags: AI_CANONNAME,
                ..AddrInfoHints::default()
            };
            let mut found = getaddrinfo(Some(name), None, Some(hints)).ok()?;
            found.find_map(|info| info.ok()?.canonname)?
        }
    };
    (full.len() <= NAME_BYTES_MAX).then_some(full)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_asked_for_once() {
        let (mut names, resolver) = pair();
        let asked = std::thread::spawn(move || {
            let mut asked = Vec::new();
            for name in &resolver.questions {
                asked.push(name.clone());
                let full = (name != "b").then(|| format!("{name}.example.org"));
                resolver.answers.send((name, full)).unwrap();
            }
            asked
        });
        for _ in 0..3 {
            let mut full = |name| names.full(name, Names::deadline());
            assert_eq!(full("a"), "a.example.org");
            assert_eq!(full("b"), "b", "not known to the DNS");
            assert_eq!(full("no host\n"), "no host\n", "never asked");
        }
        drop(names);
        assert_eq!(asked.join().unwrap(), ["a", "b"]);
    }

    #[test]
    fn a_resolver_that_hangs_costs_no_more_than_the_deadline() {
        let (mut names, resolver) = pair();
        let deadline = Instant::now() + Duration::from_millis(20);
        for n in 0..500 {
            let name = format!("s{n}");
            assert_eq!(names.full(&name, deadline), name);
        }
        assert!(Instant::now() < deadline + Duration::from_secs(2));
        drop(resolver);
    }

    #[test]
    fn an_address_of_this_machine_has_a_name() {
        assert!(resolve("127.0.0.1").is_some());
        assert_eq!(resolve("no-such-host.invalid"), None);
    }
}
