// Package policy answers "may this principal do this?" by AWS IoT policy
// documents, and knows the things, certificates and users of the site.
//
// There is one authority and there are two speeds. The rules are Rego
// (rego/*.rego, tested beside them) and read the documents as AWS writes them;
// OPA, which only this package imports, evaluates them:
//
//   - decision.rego decides one request whole. It is what the tests compare
//     with, and what explains.
//   - session.rego decides, once per session and change, what a principal
//     holds: which conditional statements hold for its certificate, thing and
//     client id, and what the variables stand for. [Engine.Grants] compiles the
//     statements with those values into matchers without backtracking, and a
//     packet is decided on these in well under a microsecond, without OPA.
//
// Conditions on what a single request brings (connect attributes, will topic,
// address, time) stay in the compiled form and are compared per request. A
// differential test shows both speeds equal; beyond OPA they share no code.
//
// Documents are parsed strictly, and one that is wrong fails the whole set:
// to skip it could drop a Deny. Everything not allowed is denied, and a
// principal whose policies cannot be found is denied everything.
//
// Where AWS is not known for certain a switch decides ([Switches]); both speeds
// read it. An operator's own Rego beside the documents (package ebbgate.site) is
// asked about what they allow and can only narrow it; its answers are remembered
// by principal, action and topic, and an error or a time-out denies.
//
// A set of documents, the registry and the operator's Rego make one immutable
// snapshot behind an atomic pointer. [Engine.Stage] reads the next one and
// [Staged.Apply] puts it into force, with the grants of those who are there made
// ready before; [Engine.Reload] is both. A set that is wrong changes nothing.
//
// [Desk] asks the same rules without a gateway, whole or as a packet would be
// decided ([Desk.Compiled]), and explains. Its users are the folders below:
// lint finds mistakes in documents, policytest runs cases, account fetches from
// and compares with an AWS account and is the house of its SDK.
package policy
