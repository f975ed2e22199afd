//! For tests: an answer in all its shapes.

use std::io::{self, Write};
use std::sync::{Arc, Mutex, PoisonError};

use super::answer::Answer;
use super::printer::{Format, Printer};
use crate::failure::Failure;

#[derive(Clone, Default)]
struct Memory(Arc<Mutex<Vec<u8>>>);

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// What `print` writes in each format: for people, plain, JSON.
pub(crate) fn shapes(print: impl Fn(&mut Printer) -> Result<(), Failure>) -> [String; 3] {
    [Format::Human, Format::Plain, Format::Json].map(|format| {
        let memory = Memory::default();
        let mut printer = Printer::new(format, Box::new(memory.clone()));
        print(&mut printer).unwrap_or_else(|failure| panic!("{}", failure.message));
        let bytes = memory.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8(bytes).expect("answers are text")
    })
}

/// The same of an answer.
pub(crate) fn shapes_of(answer: &impl Answer) -> [String; 3] {
    shapes(|printer| printer.answer(answer))
}
