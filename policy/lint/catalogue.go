package lint

import (
	"slices"
	"strings"
)

// catalogue lists the rules L01 to L34, with what a person has to know about
// each.
func catalogue() []Rule {
	all := slices.Concat(wildcardRules(), grantRules(), conditionRules(), setRules())
	slices.SortFunc(all, func(a, b Rule) int { return strings.Compare(a.ID, b.ID) })
	return all
}

// wildcardRules are about the characters of patterns and ARNs.
func wildcardRules() []Rule {
	return []Rule{
		{ID: "L01", Severity: Medium, find: findL01,
			Title: "an MQTT wildcard in an Allow",
			Why:   "A policy's wildcards are * and ?. A + or # is that character: in a topic it never matches, in a filter it matches the one filter spelled so.",
			Fix:   "write * or ?; keep it if just that filter is meant",
			Wrong: `"topicfilter/some/+/topic"`, Right: `"topicfilter/some/*/topic"`},
		{ID: "L02", Severity: High, find: findL02,
			Title: "an MQTT wildcard in a Deny",
			Why:   "The Deny keeps out the one filter spelled so, and lets through everything that its author had in mind.",
			Fix:   "write *, and deny iot:Receive on the topics too",
			Wrong: `Deny "topicfilter/secret/#"`, Right: `Deny "topicfilter/secret/*"`},
		{ID: "L03", Severity: High, find: findL03,
			Title: "a denied subscription that a wider filter goes around",
			Why:   "A filter is compared as text. Denied a/secret/*, allowed a/*: a client subscribes to a/# and is sent a/secret/x.",
			Fix:   "deny iot:Receive on the same topics",
			Wrong: `Deny iot:Subscribe "topicfilter/a/secret/*"`, Right: `and Deny iot:Receive "topic/a/secret/*"`},
		{ID: "L22", Severity: High, find: findL22,
			Title: "an ARN of somebody else",
			Why:   "Partition, region and account are compared with the request's. What differs never matches; a Deny then denies nothing.",
			Fix:   "correct the ARN",
			Wrong: `"arn:aws:iot::123456789012:topic/a"`, Right: `"arn:aws:iot:us-east-1:123456789012:topic/a"`},
		{ID: "L24", Severity: High, find: findL24,
			Title: "shared subscriptions are not covered",
			Why:   "A shared subscription is checked under its whole text, $share/group/filter: a Deny of the filter does not see it, and a * for the group reaches over slashes.",
			Fix:   "deny both forms; name the group",
			Wrong: `Deny "topicfilter/secret/*"`, Right: `Deny ["topicfilter/secret/*", "topicfilter/$share/*/secret/*"]`},
		{ID: "L25", Severity: Medium, find: findL25,
			Title: "a wildcard in partition, region or account",
			Why:   "A * at the end of such a field can run past the colon, and so reach names that hold a colon themselves.",
			Fix:   "write partition, region and account out",
			Wrong: `"arn:aws:iot:*:*:topic/a"`, Right: `"arn:aws:iot:us-east-1:123456789012:topic/a"`},
		{ID: "L30", Severity: High, find: findL30,
			Title: "a wildcard right behind a variable",
			Why:   "dev1 is the beginning of dev10: the one device reaches the other's names.",
			Fix:   "write / between variable and wildcard",
			Wrong: `"topic/${iot:Connection.Thing.ThingName}*"`, Right: `"topic/${iot:Connection.Thing.ThingName}/*"`},
	}
}

// grantRules are about actions, resources and how much is granted.
func grantRules() []Rule {
	return []Rule{
		{ID: "L04", Severity: High, find: findL04,
			Title: "the resource does not fit the action",
			Why:   "Each action is checked on one kind of resource; on another it never matches.",
			Fix:   "topicfilter/ for Subscribe; topic/ for Publish, Receive, RetainPublish; client/ for Connect",
			Wrong: `iot:Subscribe "topic/a/*"`, Right: `iot:Subscribe "topicfilter/a/*"`},
		{ID: "L05", Severity: High, find: findL05,
			Title: "an unknown action",
			Why:   "No request asks about it: an Allow grants nothing, a Deny denies nothing.",
			Fix:   "write an action of AWS IoT's data plane",
			Wrong: `"iot:PublishRetain"`, Right: `"iot:RetainPublish"`},
		{ID: "L10", Severity: Critical, find: findL10,
			Title: "any client id may connect",
			Why:   "A device can take the client id of another: AWS closes the other's connection, and ${iot:ClientId} is a lie.",
			Fix:   "client/${iot:Connection.Thing.ThingName} with Bool IsAttached true",
			Wrong: `iot:Connect "client/*"`, Right: `iot:Connect "client/${iot:Connection.Thing.ThingName}"`},
		{ID: "L13", Severity: High, find: findL13,
			Title: "allowed by exclusion",
			Why:   "NotAction and NotResource in an Allow grant all that is not listed, $aws topics and future actions too.",
			Fix:   "list what is allowed",
			Wrong: `Allow "NotResource": "topic/secret/*"`, Right: `Allow "Resource": "topic/dt/*"`},
		{ID: "L14", Severity: Critical, find: findL14,
			Title: "every device's shadow, jobs or rules",
			Why:   "One stolen device reads and changes the state of all, or feeds any rule. iot:Receive on them is fine: it delivers only what was subscribed to.",
			Fix:   "scope it to ${iot:Connection.Thing.ThingName}; name the rule",
			Wrong: `iot:Publish "topic/$aws/things/*"`, Right: `iot:Publish "topic/$aws/things/${iot:Connection.Thing.ThingName}/*"`},
		{ID: "L20", Severity: Critical, find: findL20,
			Title: "everything is allowed",
			Why:   "One stolen device reads and writes all others. AWS's own audit calls it critical.",
			Fix:   "list the actions and resources that the device needs",
			Wrong: `"iot:*" on "*"`, Right: `each action on its own resources`},
		{ID: "L21", Severity: Medium, find: findL21,
			Title: "a list action on a resource",
			Why:   "ListRetainedMessages and ListNamedShadowsForThing are checked on * only.",
			Fix:   "write the resource *",
			Wrong: `iot:ListRetainedMessages "topic/a"`, Right: `iot:ListRetainedMessages "*"`},
		{ID: "L23", Severity: Low, find: findL23,
			Title: "an action in another case",
			Why:   "It works, since actions compare without regard to case; searches and reviews miss it.",
			Fix:   "write it as AWS does",
			Wrong: `"iot:publish"`, Right: `"iot:Publish"`},
		{ID: "L31", Severity: Medium, find: findL31,
			Title: "retained messages on $ topics",
			Why:   "AWS refuses a retained message to a topic that begins with $, whatever the policy.",
			Fix:   "leave it out",
			Wrong: `iot:RetainPublish "topic/$aws/things/*"`, Right: ``},
	}
}
