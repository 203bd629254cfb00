package lint

import (
	"slices"
	"strings"
)

// Data-plane actions that rules speak of.
const (
	connect       = "iot:Connect"
	publish       = "iot:Publish"
	retainPublish = "iot:RetainPublish"
	subscribe     = "iot:Subscribe"
	receive       = "iot:Receive"
	listRetained  = "iot:ListRetainedMessages"
	listShadows   = "iot:ListNamedShadowsForThing"
)

// actionKinds are the actions that a policy can allow or deny, with the kind
// of resource they are about; "*" is no resource but that.
var actionKinds = map[string]string{
	connect: kindClient, publish: kindTopic, retainPublish: kindTopic, receive: kindTopic, subscribe: kindFilter,
	"iot:GetRetainedMessage": kindTopic, listRetained: "*",
	"iot:GetThingShadow": kindThing, "iot:UpdateThingShadow": kindThing, "iot:DeleteThingShadow": kindThing, listShadows: "*",
	"iot:DescribeJobExecution": kindThing, "iot:GetPendingJobExecutions": kindThing,
	"iot:StartNextPendingJobExecution": kindThing, "iot:UpdateJobExecution": kindThing,
	"iot:AssumeRoleWithCertificate": kindRoleAlias,
	"iot:DeleteConnection":          kindClient, "iot:SendDirectMessage": kindClient, "iot:GetConnection": kindClient, "iot:ListSubscriptions": kindClient,
}

// actionNames are the keys of actionKinds, sorted.
var actionNames = func() []string {
	var names []string
	for name := range actionKinds {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}()

// dataServices are other services whose actions stand in IoT policies with
// effect, though no MQTT packet asks them.
var dataServices = []string{"greengrass", "iotjobsdata"}

// controlVerbs begin the names of AWS IoT's control-plane actions.
var controlVerbs = []string{
	"Accept", "Add", "Associate", "Attach", "Cancel", "Clear", "Confirm", "Create", "Delete", "Deprecate", "Describe", "Detach", "Disable",
	"Disassociate", "Enable", "Get", "List", "Put", "Register", "Reject", "Remove", "Replace", "Search", "Set", "Start", "Stop", "Tag", "Test",
	"Transfer", "Untag", "Update", "Validate", "Close", "Open", "Rotate",
}

// slips are names that people write for an action.
var slips = map[string]string{
	"publishretain": retainPublish, "retain": retainPublish, "retainedpublish": retainPublish, "publishretained": retainPublish,
	"unsubscribe": "", "disconnect": "", "ping": "", "subscribetotopic": subscribe, "pub": publish, "sub": subscribe,
	"getretainedmessages": "iot:GetRetainedMessage", "listretainedmessage": listRetained, "listnamedshadows": listShadows,
}

// actsOf lists the known actions that a statement is about.
func actsOf(s *statement) map[string]bool {
	out := map[string]bool{}
	for _, name := range actionNames {
		listed := slices.ContainsFunc(s.actions, func(n *node) bool { return actionCovers(n.text, name) })
		if listed != (s.notAction != nil) {
			out[name] = true
		}
	}
	return out
}

// actionCovers compares an action's text with a known action, without regard
// to case.
func actionCovers(text, name string) bool {
	return parsePattern(strings.ToLower(text), version2008).covers(literals(strings.ToLower(name)))
}

// coveredBy lists the known actions that one action's text covers.
func coveredBy(text string) []string {
	var out []string
	for _, name := range actionNames {
		if actionCovers(text, name) {
			out = append(out, name)
		}
	}
	return out
}

// wild reports whether an action's text has a wildcard.
func wild(text string) bool { return strings.ContainsAny(text, "*?") }

// allActions reports whether the text covers every action of AWS IoT.
func allActions(text string) bool { return len(coveredBy(text)) == len(actionNames) }
