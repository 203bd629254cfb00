// Package policytest runs tests of policies: cases that say what a client may
// and may not do, compared with what the documents say.
//
// There are two formats. A .jsonl file has one case a line, whole in itself,
// which suits machines ([ReadJSONL]); a YAML file names things and policies
// once and then lists who may do what, which suits people ([ReadYAML]). Both
// become [Case] values: documents, a context, questions and what is expected.
//
// A [Runner] asks every question twice, of the rules in Rego and of the
// compiled matchers that decide about packets, and a case fails when the two
// differ, whatever it expects. Documents that cases of one client share are
// read and compiled once. Results come in the order of the cases, however many run at a time, and are
// printed as text like that of "go test" ([Text]), as a JSON event a line
// ([Events]) or as JUnit XML ([JUnit]).
//
// [Coverage] collects which statements, resources and conditions any case
// reached, and shows the rest in the text of the documents.
package policytest
