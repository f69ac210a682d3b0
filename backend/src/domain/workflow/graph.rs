//! Which step needs which: the order of steps, what stands before each, and circles.

use std::collections::{BTreeSet, VecDeque};

use crate::domain::run_names::StepIndex;

/// The needs of all steps, seen from every side.
#[derive(Debug, Clone)]
pub(super) struct Graph {
    dependents: Vec<Vec<StepIndex>>,
    order: Vec<StepIndex>,
}

impl Graph {
    /// Of the steps that each step needs.
    pub(super) fn new(needs: &[Vec<StepIndex>]) -> Self {
        let mut dependents = vec![Vec::new(); needs.len()];
        for (step, needs) in needs.iter().enumerate() {
            for need in needs {
                dependents[need.0].push(StepIndex(step));
            }
        }
        let mut missing: Vec<usize> = needs.iter().map(Vec::len).collect();
        let mut free: BTreeSet<StepIndex> =
            (0..needs.len()).filter(|step| missing[*step] == 0).map(StepIndex).collect();
        let mut order = Vec::with_capacity(needs.len());
        while let Some(step) = free.pop_first() {
            order.push(step);
            for dependent in &dependents[step.0] {
                missing[dependent.0] -= 1;
                if missing[dependent.0] == 0 {
                    free.insert(*dependent);
                }
            }
        }
        Self { dependents, order }
    }

    /// The steps that need this one.
    pub(super) fn dependents(&self, step: StepIndex) -> &[StepIndex] {
        self.dependents.get(step.0).map_or(&[], Vec::as_slice)
    }

    /// All steps, each after those that it needs. Where there are circles, what is in them or behind them is left out.
    pub(super) fn order(&self) -> &[StepIndex] {
        &self.order
    }
}

/// Everything that is over before this step is looked at: what it needs, what that needs, and so on.
pub(super) fn ancestors(step: StepIndex, needs: &[Vec<StepIndex>]) -> BTreeSet<StepIndex> {
    let mut found = BTreeSet::new();
    let mut next: Vec<StepIndex> = needs[step.0].clone();
    while let Some(step) = next.pop() {
        if found.insert(step) {
            next.extend(&needs[step.0]);
        }
    }
    found
}

/// The circles that there are, each as the shortest path from its first step, by document, back to that step. A step is told
/// in one circle only.
pub(super) fn circles(needs: &[Vec<StepIndex>]) -> Vec<Vec<StepIndex>> {
    let mut told = BTreeSet::new();
    let mut circles = Vec::new();
    for step in (0..needs.len()).map(StepIndex) {
        if !told.contains(&step)
            && let Some(circle) = shortest_circle(step, needs)
            && circle.iter().all(|step| !told.contains(step))
        {
            told.extend(circle.iter().copied());
            circles.push(circle);
        }
    }
    circles
}

/// The shortest way from a step by what it needs back to itself, without the return.
fn shortest_circle(start: StepIndex, needs: &[Vec<StepIndex>]) -> Option<Vec<StepIndex>> {
    let mut came_from = vec![None; needs.len()];
    let mut next = VecDeque::from([start]);
    while let Some(step) = next.pop_front() {
        for need in &needs[step.0] {
            if *need == start {
                let mut path = vec![step];
                let mut at = step;
                while let Some(before) = came_from[at.0] {
                    path.push(before);
                    at = before;
                }
                path.reverse();
                return Some(path);
            }
            if came_from[need.0].is_none() {
                came_from[need.0] = Some(step);
                next.push_back(*need);
            }
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn needs(of: &[&[usize]]) -> Vec<Vec<StepIndex>> {
        of.iter().map(|needs| needs.iter().copied().map(StepIndex).collect()).collect()
    }

    fn numbers<'a>(steps: impl IntoIterator<Item = &'a StepIndex>) -> Vec<usize> {
        steps.into_iter().map(|step| step.0).collect()
    }

    #[test]
    fn every_step_comes_after_what_it_needs_and_else_in_the_order_of_the_document() {
        let needs = needs(&[&[3], &[], &[0, 1], &[]]);
        let graph = Graph::new(&needs);
        assert_eq!(numbers(graph.order()), [1, 3, 0, 2]);
        assert_eq!(numbers(graph.dependents(StepIndex(0))), [2]);
        assert_eq!(numbers(&ancestors(StepIndex(2), &needs)), [0, 1, 3]);
        assert!(ancestors(StepIndex(1), &needs).is_empty());
    }

    #[test]
    fn circles_are_told_with_their_path() {
        let found =
            |of: &[&[usize]]| -> Vec<Vec<usize>> { circles(&needs(of)).iter().map(numbers).collect() };
        assert!(found(&[&[], &[0], &[0, 1]]).is_empty());
        assert_eq!(found(&[&[0]]), [[0]]);
        assert_eq!(found(&[&[], &[3, 0], &[1], &[2]]), [[1, 3, 2]]);
        assert_eq!(
            found(&[&[1], &[0], &[3], &[2], &[0]]),
            [[0, 1], [2, 3]],
            "what is behind one is no circle"
        );
        assert_eq!(found(&[&[1, 2], &[2], &[0]]), [[0, 2]], "the shortest way");
    }
}
