//! From byte offsets to the lines and columns people count.

use super::Problem;

/// Where each line of a text begins.
pub(crate) struct LineIndex {
    starts: Vec<usize>,
}

impl LineIndex {
    pub(crate) fn new(text: &str) -> Self {
        let breaks = text.bytes().enumerate().filter(|(_, byte)| *byte == b'\n');
        Self { starts: std::iter::once(0).chain(breaks.map(|(at, _)| at + 1)).collect() }
    }

    /// Line of the offset, from 1.
    pub(crate) fn line(&self, offset: usize) -> usize {
        self.starts.partition_point(|start| *start <= offset).max(1)
    }

    /// Byte offset at which a line begins.
    pub(crate) fn start(&self, line: usize) -> usize {
        self.starts.get(line.saturating_sub(1)).copied().unwrap_or(0)
    }
}

/// Brings problems into the order of the text and fills in their lines and columns.
///
/// Columns are counted on from the problem before, so that many problems on one long line cost
/// one pass over it.
pub(crate) fn locate(problems: &mut [Problem], text: &str, lines: &LineIndex) {
    problems.sort_by_key(|problem| problem.span.start);
    let (mut line, mut from, mut column) = (0, 0, 1);
    for problem in problems {
        let offset = floor(text, problem.span.start);
        let here = lines.line(offset);
        if here != line {
            (line, from, column) = (here, lines.start(here), 1);
        }
        column += text.get(from..offset).map_or(0, |between| between.chars().count());
        from = offset;
        (problem.line, problem.column) = (line, column);
    }
}

/// The offset, or the one before it at which a character begins.
pub(crate) fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_and_columns_are_counted_in_characters() {
        let text = "a\nbé•d\n\n";
        let lines = LineIndex::new(text);
        let at = |offset| Problem::at(offset..offset, "");
        let mut problems = [at(text.len()), at(7), at(0), at(4), at(2), at(9_999)];
        locate(&mut problems, text, &lines);
        let seen: Vec<_> = problems.iter().map(|p| (p.line, p.column)).collect();
        assert_eq!(seen, [(1, 1), (2, 1), (2, 2), (2, 3), (4, 1), (4, 1)], "4 is in é, 7 in •");
    }
}
