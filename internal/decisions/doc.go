// Package decisions watches what the policy answers on live traffic, for people:
// who was refused what and why, and what another set of policies would have
// answered.
//
// A [Log] stands between the broker and the policy as a bridge.Authorizer. It
// passes every question and every answer through unchanged. All denials go into
// a bounded ring, and of what is allowed the first of each client and action
// and then one in many; an answer that is not kept costs a few nanoseconds, and
// nothing is formatted before somebody reads it.
//
// A dry run ([Log.DryRun]) copies the questions into a bounded queue, from which
// another goroutine asks a candidate. Where that does not keep up questions are
// left out and counted, so that it can neither slow down nor change what the
// active policy answers.
//
// Both are served as newline-delimited JSON on the admin port.
package decisions
