// Package strictyaml reads YAML for people who must not be misunderstood: the
// registry of things, and tests of policies. What could be read in two ways is
// refused, with its place: unknown and repeated keys, anchors, a second
// document behind the first, text that is not UTF-8. Values stay as they are
// written: 007 is no 7.
//
// A [Reader] collects nothing itself. It tells what is wrong to its Report and
// goes on, so that all of a file's faults are told at once.
package strictyaml
