package lint

const referenceHead = `# Linting policies

` + "`ebbgate policy lint PATH…`" + ` reads AWS IoT policy documents, files or folders of them, and
names what AWS accepts and nobody meant. It needs no gateway, no account and no
network, so it runs in CI as it does at the desk.

` + "```" + `
$ ebbgate policy lint policies
policies/room.json:25:19: L02 high: an MQTT wildcard in a Deny
    "#" is an ordinary character in a policy, no wildcard: this Deny keeps out
    the one filter spelled "building/control_room/#", and not
    "building/control_room/any/thing"
      - subscribe to building/control_room/#: refused
      - subscribe to building/control_room/any/thing: allowed, by Statement[1]
      - subscribe to building/#: allowed, by Statement[1]
      - receive from building/control_room/any/thing: allowed, by Statement[3]
    fix: write topicfilter/building/control_room/*, and deny iot:Receive on
         topic/building/control_room/* too: a wider filter still brings these
         topics

1 document, 1 finding: 1 high
` + "```" + `

Every example is a request that was tried on the statements; for variables it
puts in a thing ` + "`press-1`" + `.

| flag | |
|---|---|
| ` + "`--severity LEVEL`" + ` | report from this severity on: low (the default), medium, high, critical, or their first letters |
| ` + "`--fail-on LEVEL`" + ` | exit 1 from this severity on; the default is what --severity says, or medium without it; ` + "`never`" + ` always exits 0 |
| ` + "`--things FILE`" + ` | the registry: documents are judged in the sets that certificates and users have |
| ` + "`--together`" + ` | without a registry: all documents named belong to one principal |
| ` + "`--partition`, `--region`, `--account`" + ` | whose ARNs the gateway has, for L22; ` + "`--config FILE`" + ` takes them from a configuration |
| ` + "`--json`" + ` | one JSON object a line for each finding |
| ` + "`--sarif`, `--sarif=FILE`" + ` | a SARIF 2.1.0 log, for code scanning |

Exit codes: 0 nothing from ` + "`--fail-on`" + ` on; 1 something; 2 a wrong command line, or a file
that cannot be read.

A file may also be what ` + "`aws iot get-policy`" + ` or ` + "`get-policy-version`" + ` printed, with the
document as a string in it; ` + "`-`" + ` reads standard input. Lines and columns are then
those of the document. JSON has the place in the file beside them, and SARIF has
that alone.

## Severities

**critical**: a device can reach what is not its own. **high**: something is let
through, or can never work. **medium**: probably not what was meant. **low**: a
remark.

A finding is a remark, whatever its rule, where the text alone cannot tell a
mistake from a habit: a document without iot:Connect (L32) or iot:Receive (L06) may
have a neighbour that grants it. With ` + "`--things`" + ` the neighbours are known, and the
finding has its full severity. The same holds for L34, and for L10 in a document
for claim certificates, whose devices have no thing yet.

Rules that look at several statements (L03, L06, L07, L10, L11, L12, L24, L28, L32,
L33) judge the set of documents that a principal has, where the registry is given,
else each document alone.

## Accepting a finding

JSON has no comments, and AWS refuses elements that it does not know. Two places
keep a document valid at AWS. A reason is needed in both, and a suppression that
matches nothing is itself reported (L90).

**Inline**, in the document's ` + "`Id`" + `, which the policy grammar leaves to you:

` + "```json" + `
{
  "Version": "2012-10-17",
  "Id": "lint:ignore L17@Connect readers keep sessions; lint:ignore L33 kept for the audit",
  "Statement": [ … ]
}
` + "```" + `

Behind the rule ` + "`@`" + ` and a Sid, or a statement's index from 0, narrow it to one
statement; the reason goes up to a semicolon. The text counts among the
document's 2,048 characters, and goes to AWS with it.

**Beside the documents**, in ` + "`.lint.yaml`" + ` of their folder, which the gateway passes over:

` + "```yaml" + `
suppressions:
  - policy: device          # the file's name without .json
    rule: L17
    statement: Connect      # a Sid or an index; left out, the whole document
    reason: readers keep sessions
` + "```" + `

## Rules

| rule | severity | finding | wrong | right | fix |
|---|---|---|---|---|---|
`

const referenceTail = `
What AWS itself audits is among them: IOT_POLICY_OVERLY_PERMISSIVE_CHECK is L10, L14
and L20, IOT_POLICY_POTENTIAL_MISCONFIGURATION_CHECK is L02 and L03.

[policy.md](policy.md) says how documents are evaluated.
`
