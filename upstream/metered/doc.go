// Package metered says when a metered link (cellular, satellite) may carry messages
// and how much: windows of the day and the week in the site's time zone, and a
// budget of bytes for a day or a month.
//
// A [Gate] is a [bridge.Gate]. It is pure but for the counter of used bytes, which
// it keeps in the spool.
//
// A window opens at the first moment when the site's clocks show its beginning
// and closes at the first one when they show its end. So a window that spans the
// hour which is told twice in autumn is an hour longer in that night, one that
// spans the hour which is left out in spring is shorter, and one that lies within
// that hour does not open.
//
// Windows and periods go by the wall clock, since that is what the site and its
// carrier go by. A clock that jumps over a window's end closes it, and one that
// jumps into another day or month has that one's budget; jumping back finds the
// used bytes as they were, and what was counted meanwhile comes to them when
// nobody vouched for the clock that told otherwise.
package metered
