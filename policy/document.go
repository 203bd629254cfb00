package policy

import (
	"fmt"

	"github.com/ebbgate/ebbgate/bridge"
)

// document is one policy as parsed; immutable.
type document struct {
	name       string
	file       string
	version    string // the two that AWS knows; without one it is the older
	statements []*statement
	raw        any // the JSON as OPA reads it
	uses       uses
}

// The versions of the policy language. Variables exist in the second only.
const (
	version2008 = "2008-10-17"
	version2012 = "2012-10-17"
)

// statement is one statement; immutable.
type statement struct {
	document    *document
	index       int
	line        int
	sid         string
	deny        bool
	actions     []glob // over lower-case action names
	notAction   bool
	resources   []*resource
	notResource bool
	conditions  []*condition
	decision    bridge.Decision // when it decides
}

// settle makes the statement's decision ready, once all else is known.
func (s *statement) settle() {
	verb := "allowed"
	if s.deny {
		verb = "denied"
	}
	sid := ""
	if s.sid != "" {
		sid = " (" + s.sid + ")"
	}
	s.decision = bridge.Decision{
		Allowed: !s.deny, Explicit: s.deny, Policy: s.document.name, Index: s.index,
		Reason: fmt.Sprintf("%s by Statement[%d]%s of policy %s, line %d", verb, s.index, sid, s.document.name, s.line),
	}
}

// condition is one key of one operator of a Condition element.
type condition struct {
	operator
	written string // the operator as written
	name    string // the key as written
	values  []string
	version string
}

// uses says which facts about a principal a document asks for, so that
// principals that differ in nothing else share one compiled program.
type uses struct {
	client, thing, certificate, address, endpoint bool
}

func (u uses) and(v uses) uses {
	return uses{u.client || v.client, u.thing || v.thing, u.certificate || v.certificate, u.address || v.address, u.endpoint || v.endpoint}
}
