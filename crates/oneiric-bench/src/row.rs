//! What is compared: rows of contestants, and the goals ours have.

use std::error::Error;

use crate::clock::Timing;

/// Repeats an operation as often as it is told. Belongs to one thread.
pub(crate) type Work = Box<dyn FnMut(u64)>;

/// Does a whole piece of work once, from a fresh state, and says how long that took.
pub(crate) type Piece = Box<dyn FnMut() -> Timing>;

/// Contestants that do the same in different ways, measured in turn.
pub(crate) struct Row {
    /// What `--filter` goes by.
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    /// What a reader must know to read the figures.
    pub(crate) note: &'static str,
    pub(crate) contest: Contest,
}

pub(crate) enum Contest {
    /// Nanoseconds of an operation that is repeated, on one thread and on two.
    Operations(Vec<Contestant<Operation>>),
    /// Milliseconds of CPU for a piece of work that is done once.
    Pieces(Vec<Contestant<Piece>>),
}

/// Makes a thread's work.
pub(crate) type MakeWork = Box<dyn Fn() -> Work + Send + Sync>;

/// An operation on data that all threads share; and the same on data that each has to itself, which
/// is as parallel as it can get: the difference is what sharing costs, and nothing else.
pub(crate) struct Operation {
    pub(crate) shared: MakeWork,
    pub(crate) apart: [MakeWork; 2],
}

impl Operation {
    /// # Errors
    /// Why the data cannot be set up.
    pub(crate) fn new(
        set_up: impl Fn() -> Result<MakeWork, Box<dyn Error>>,
    ) -> Result<Self, Box<dyn Error>> {
        Ok(Self {
            shared: set_up()?,
            apart: [set_up()?, set_up()?],
        })
    }
}

pub(crate) struct Contestant<W> {
    pub(crate) name: &'static str,
    pub(crate) role: Role,
    pub(crate) goals: Vec<Goal>,
    /// The contestant that does half as much of the same, by its place in the row.
    pub(crate) half: Option<usize>,
    pub(crate) work: W,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The barest form of the same kind of work, on the thread's own data.
    Control,
    /// What others would use. Those that follow it in the row, up to the next peer, are compared to it.
    Peer,
    Ours,
}

/// What is hoped for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Goal {
    /// At most this many times the peer, on so many threads; and what would be better still.
    Ratio {
        threads: usize,
        at_most: f64,
        stretch: Option<f64>,
    },
    /// Two threads that share are at least this quick, as a share of two that do not.
    Scaling { at_least: f64 },
}

impl<W> Contestant<W> {
    pub(crate) fn control(name: &'static str, work: W) -> Self {
        Self::new(name, Role::Control, work)
    }

    pub(crate) fn peer(name: &'static str, work: W) -> Self {
        Self::new(name, Role::Peer, work)
    }

    pub(crate) fn ours(name: &'static str, work: W) -> Self {
        Self::new(name, Role::Ours, work)
    }

    fn new(name: &'static str, role: Role, work: W) -> Self {
        Self {
            name,
            role,
            goals: Vec::new(),
            half: None,
            work,
        }
    }

    pub(crate) fn goal(mut self, goal: Goal) -> Self {
        self.goals.push(goal);
        self
    }

    pub(crate) fn twice_as_much_as(mut self, half: usize) -> Self {
        self.half = Some(half);
        self
    }
}

/// A thread's own work, made where it will run: `set_up` gives the operation, which is compiled into
/// a loop of its own so that calling it costs nothing.
pub(crate) fn repeated<O: FnMut() + 'static>(
    set_up: impl Fn() -> O + Send + Sync + 'static,
) -> MakeWork {
    Box::new(move || {
        let mut operation = set_up();
        Box::new(move |times| {
            for _ in 0..times {
                operation();
            }
        })
    })
}
