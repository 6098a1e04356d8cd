//! What a row's samples say: figures a person can read, and whether goals are met.

use std::io;

use serde::Serialize;

use crate::clock::Timing;
use crate::harness::{Plan, Series, measure};
use crate::row::{Contest, Contestant, Goal, Piece, Role, Row};
use crate::stats::{Samples, Spread};

/// A measured row.
#[derive(Debug, Serialize)]
pub(crate) struct Outcome {
    pub(crate) name: &'static str,
    pub(crate) title: &'static str,
    pub(crate) note: &'static str,
    pub(crate) unit: &'static str,
    pub(crate) lines: Vec<Line>,
}

/// One contestant on so many threads.
#[derive(Debug, Serialize)]
pub(crate) struct Line {
    pub(crate) contestant: &'static str,
    pub(crate) threads: usize,
    pub(crate) p10: Option<f64>,
    pub(crate) median: Option<f64>,
    pub(crate) p90: Option<f64>,
    pub(crate) to_peer: Option<f64>,
    pub(crate) to_control: Option<f64>,
    /// How quick two threads that share are, as a share of two that do not.
    pub(crate) scaling: Option<f64>,
    /// What twice the work costs, as a multiple.
    pub(crate) growth: Option<f64>,
    pub(crate) accepted: usize,
    pub(crate) rejected: usize,
    pub(crate) goals: Vec<Verdict>,
}

/// A goal and what became of it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(crate) struct Verdict {
    pub(crate) goal: String,
    /// `None` when there is nothing to judge by.
    pub(crate) met: Option<bool>,
}

/// Measures a row.
///
/// # Errors
/// When threads cannot be started or kept on a processor.
pub(crate) fn run(row: Row, processors: &[usize], plan: Plan) -> io::Result<Outcome> {
    let Row {
        name,
        title,
        note,
        contest,
    } = row;
    let (unit, lines) = match contest {
        Contest::Operations(contestants) => {
            let series = measure(&contestants, processors, plan)?;
            ("ns", operations(&contestants, &series))
        }
        Contest::Pieces(mut contestants) => ("ms CPU", pieces(&mut contestants, plan)),
    };
    Ok(Outcome {
        name,
        title,
        note,
        unit,
        lines,
    })
}

fn operations<W>(contestants: &[Contestant<W>], series: &[Series]) -> Vec<Line> {
    let control = contestants.iter().position(|one| one.role == Role::Control);
    let control = control.and_then(|place| series.get(place));
    let mut lines = Vec::new();
    for threads in [1, 2] {
        let pick = |series: &'_ Series| -> Samples {
            match threads {
                1 => series.one.clone(),
                _ => series.two.clone(),
            }
        };
        for (place, (contestant, own)) in contestants.iter().zip(series).enumerate() {
            let samples = pick(own);
            let peer = peer_of(contestants, place).and_then(|peer| series.get(peer));
            if samples.accepted() + samples.rejected() == 0 {
                continue;
            }
            let ratio = |to: Option<&Series>| samples.ratio_to(&pick(to?));
            let scaling = (threads == 2).then(|| own.apart.ratio_to(&own.two));
            let ratios = Ratios {
                to_peer: ratio(peer),
                to_control: ratio(control),
                scaling: scaling.flatten(),
                growth: None,
            };
            lines.push(line(contestant, threads, &samples, ratios));
        }
    }
    lines
}

/// Whole pieces of work take longer than a processor is ours alone, so their CPU time is what counts
/// and nothing is rejected.
fn pieces(contestants: &mut [Contestant<Piece>], plan: Plan) -> Vec<Line> {
    let mut series: Vec<Samples> = contestants.iter().map(|_| Samples::default()).collect();
    for round in 0..=plan.wanted.div_ceil(10) {
        for (contestant, samples) in contestants.iter_mut().zip(&mut series) {
            let Timing { cpu, .. } = (contestant.work)();
            // The first round warms the allocator up.
            if round > 0 {
                samples.push(Some(cpu.as_secs_f64() * 1e3));
            }
        }
    }
    let line = |place: usize| {
        let (contestant, samples): (&Contestant<Piece>, _) = (&contestants[place], &series[place]);
        let ratio = |to: Option<usize>| samples.ratio_to(&series[to?]);
        let ratios = Ratios {
            to_peer: ratio(peer_of(contestants, place)),
            growth: ratio(contestant.half),
            ..Ratios::default()
        };
        line(contestant, 1, samples, ratios)
    };
    (0..contestants.len()).map(line).collect()
}

/// The nearest peer before a contestant.
fn peer_of<W>(contestants: &[Contestant<W>], place: usize) -> Option<usize> {
    let before = contestants.get(..place)?;
    before.iter().rposition(|one| one.role == Role::Peer)
}

/// One contestant's samples beside those of others.
#[derive(Debug, Clone, Copy, Default)]
struct Ratios {
    to_peer: Option<f64>,
    to_control: Option<f64>,
    scaling: Option<f64>,
    growth: Option<f64>,
}

fn line<W>(contestant: &Contestant<W>, threads: usize, samples: &Samples, ratios: Ratios) -> Line {
    let spread = samples.spread();
    let figure = |figure: fn(Spread) -> f64| spread.map(figure);
    let goals = contestant.goals.iter();
    Line {
        contestant: contestant.name,
        threads,
        p10: figure(|spread| spread.p10),
        median: figure(|spread| spread.median),
        p90: figure(|spread| spread.p90),
        to_peer: ratios.to_peer.filter(|_| contestant.role == Role::Ours),
        to_control: ratios
            .to_control
            .filter(|_| contestant.role != Role::Control),
        scaling: ratios.scaling,
        growth: ratios.growth,
        accepted: samples.accepted(),
        rejected: samples.rejected(),
        goals: goals
            .filter_map(|goal| judge(*goal, threads, ratios))
            .collect(),
    }
}

/// What became of a goal, if it is about so many threads.
fn judge(goal: Goal, on: usize, ratios: Ratios) -> Option<Verdict> {
    let Ratios {
        to_peer, scaling, ..
    } = ratios;
    match goal {
        Goal::Ratio {
            threads,
            at_most,
            stretch,
        } => (threads == on).then(|| {
            let beyond = stretch.filter(|stretch| to_peer.is_some_and(|ratio| ratio <= *stretch));
            Verdict {
                goal: match (stretch, beyond) {
                    (_, Some(beyond)) => format!("≤ {beyond}x (stretch)"),
                    (Some(stretch), None) => format!("≤ {at_most}x (stretch {stretch}x)"),
                    (None, None) => format!("≤ {at_most}x"),
                },
                met: to_peer.map(|ratio| ratio <= at_most),
            }
        }),
        Goal::Scaling { at_least } => (on == 2).then(|| Verdict {
            goal: format!("scales ≥ {at_least}"),
            met: scaling.map(|scaling| scaling >= at_least),
        }),
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const LEASE: Goal = Goal::Ratio {
        threads: 2,
        at_most: 0.35,
        stretch: Some(0.17),
    };

    fn of_peer(ratio: f64) -> Ratios {
        Ratios {
            to_peer: Some(ratio),
            ..Ratios::default()
        }
    }

    fn verdict(ratio: f64) -> (String, Option<bool>) {
        let Verdict { goal, met } = judge(LEASE, 2, of_peer(ratio)).unwrap();
        (goal, met)
    }

    #[test]
    fn a_goal_is_met_missed_or_surpassed() {
        assert_eq!(
            verdict(0.4),
            ("≤ 0.35x (stretch 0.17x)".into(), Some(false))
        );
        assert_eq!(
            verdict(0.35),
            ("≤ 0.35x (stretch 0.17x)".into(), Some(true))
        );
        assert_eq!(verdict(0.1), ("≤ 0.17x (stretch)".into(), Some(true)));
    }

    #[test]
    fn a_goal_is_judged_only_where_it_is_about() {
        assert_eq!(judge(LEASE, 1, of_peer(0.1)), None);
        assert_eq!(judge(LEASE, 2, Ratios::default()).unwrap().met, None);
        let goal = Goal::Scaling { at_least: 0.95 };
        let met = |on, scaling| {
            let ratios = Ratios {
                scaling,
                ..Ratios::default()
            };
            judge(goal, on, ratios).map(|verdict| verdict.met)
        };
        assert_eq!(met(1, None), None);
        assert_eq!(met(2, Some(0.96)), Some(Some(true)));
        assert_eq!(met(2, Some(0.94)), Some(Some(false)));
    }

    fn contestant(role: Role) -> Contestant<()> {
        Contestant {
            name: "one",
            role,
            goals: vec![Goal::Scaling { at_least: 0.95 }],
            half: None,
            work: (),
        }
    }

    #[test]
    fn figures_are_ratios_to_the_peer_and_the_control_of_the_row() {
        let all = [Role::Control, Role::Peer, Role::Ours].map(contestant);
        let series = [(2.0, 2.0), (8.0, 80.0), (4.0, 8.0)].map(|(one, two)| Series {
            one: [Some(one)].into_iter().collect(),
            two: [Some(two)].into_iter().collect(),
            apart: [Some(one)].into_iter().collect(),
        });
        let lines = operations(&all, &series);
        assert_eq!(lines.len(), 6, "each on one thread, then each on two");
        assert_eq!(
            (lines[2].to_peer, lines[2].to_control),
            (Some(0.5), Some(2.0))
        );
        assert_eq!((lines[5].to_peer, lines[5].scaling), (Some(0.1), Some(0.5)));
        assert_eq!(lines[5].goals[0].met, Some(false));
        assert_eq!(lines[0].to_control, None);
    }

    #[test]
    fn the_peer_is_the_nearest_one_before() {
        let all = [Role::Peer, Role::Ours, Role::Peer, Role::Ours].map(contestant);
        let peers = [0, 1, 2, 3].map(|place| peer_of(&all, place));
        assert_eq!(peers, [None, Some(0), Some(0), Some(2)]);
    }

    #[test]
    fn whole_pieces_of_work_are_compared_by_their_cpu_time() {
        let piece = |millis| -> Piece {
            let cpu = Duration::from_millis(millis);
            let wall = cpu * 3;
            Box::new(move || Timing { wall, cpu })
        };
        let mut all = [
            Contestant::peer("half", piece(10)),
            Contestant::ours("twice", piece(25)).twice_as_much_as(0),
        ];
        let plan = Plan {
            wanted: 1,
            at_most: 1,
        };
        let lines = pieces(&mut all, plan);
        assert_eq!((lines[1].median, lines[1].growth), (Some(25.0), Some(2.5)));
        assert_eq!((lines[1].to_peer, lines[1].rejected), (Some(2.5), 0));
    }
}
