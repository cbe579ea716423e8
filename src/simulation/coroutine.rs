//! A thread that runs only while somebody waits for it: so that code which calls and waits, as the worker's writer
//! calls its database, can be stopped at each call, and left there, or killed.

#![forbid(unsafe_code)]

use crossbeam_channel::{Receiver, Sender, bounded};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

/// The thread. It stands at a question, or has ended. Dropped, it is killed: it unwinds from where it stands.
pub(crate) struct Coroutine<Q, A> {
    answers: Option<Sender<A>>,
    questions: Receiver<Q>,
    thread: Option<JoinHandle<()>>,
    question: Option<Q>,
}

/// The thread's end.
pub(crate) struct Asking<Q, A> {
    questions: Sender<Q>,
    answers: Receiver<A>,
}

/// What a killed thread unwinds with.
struct Killed;

impl<Q, A> Asking<Q, A> {
    /// Stands still until there is an answer.
    pub(crate) fn ask(&self, question: Q) -> A {
        if self.questions.send(question).is_ok()
            && let Ok(answer) = self.answers.recv()
        {
            return answer;
        }
        resume_unwind(Box::new(Killed))
    }
}

impl<Q: Send + 'static, A: Send + 'static> Coroutine<Q, A> {
    /// Runs `body` up to its first question.
    pub(crate) fn start(body: impl FnOnce(Arc<Asking<Q, A>>) + Send + 'static) -> Coroutine<Q, A> {
        let (answers, answers_receiver) = bounded(1);
        let (questions_sender, questions) = bounded(1);
        let asking = Arc::new(Asking {
            questions: questions_sender,
            answers: answers_receiver,
        });
        let thread = thread::spawn(move || {
            crate::log::mute_this_thread();
            body(asking);
        });
        let mut coroutine = Coroutine {
            answers: Some(answers),
            questions,
            thread: Some(thread),
            question: None,
        };
        coroutine.wait();
        coroutine
    }

    /// What it asks. `None`: it has ended.
    pub(crate) fn question(&self) -> Option<&Q> {
        self.question.as_ref()
    }

    /// Answers, and runs it up to its next question.
    pub(crate) fn answer(&mut self, answer: A) {
        self.question = None;
        let answered = self.answers.as_ref().map(|answers| answers.send(answer));
        if let Some(Ok(())) = answered {
            self.wait();
        }
    }

    fn wait(&mut self) {
        self.question = self.questions.recv().ok();
        if self.question.is_none() {
            self.join();
        }
    }

    /// A panic in it goes on in who waits for it.
    fn join(&mut self) {
        self.answers = None;
        let ended = self.thread.take().map(JoinHandle::join);
        if let Some(Err(panic)) = ended
            && !panic.is::<Killed>()
        {
            resume_unwind(panic);
        }
    }
}

impl<Q, A> Drop for Coroutine<Q, A> {
    fn drop(&mut self) {
        self.answers = None;
        // What it panics with at its end is `Killed`.
        let _ = self.thread.take().map(JoinHandle::join);
    }
}
