package policy

import (
	"fmt"
	"reflect"
	"slices"
	"strings"

	"github.com/ebbgate/ebbgate/bridge"
)

// Switches choose where it is not known for certain what AWS does. An empty
// one is its default, which is the first of its values.
type Switches struct {
	ConnectAttributesDefault string `koanf:"connect_attributes_default" enum:"all,none" doc:"What an Allow of iot:Connect grants that does not name iot:ConnectAttributes: all (persistent sessions and wills), or none of them."`
	WillCheck                string `koanf:"will_check" enum:"both,connect,fire" doc:"When it is checked that a client may publish its will: at CONNECT, when the will fires, or both."`
	ShareReceive             string `koanf:"share_receive" enum:"either,topic,share" doc:"What iot:Receive is asked about for a shared subscription: topic is topic/T, share is topic/$share/GROUP/T; either allows when one is allowed and none denied."`
	ShareSubscribe           string `koanf:"share_subscribe" enum:"share,filter,either" doc:"What iot:Subscribe is asked about for $share/GROUP/F: share is topicfilter/$share/GROUP/F, filter is topicfilter/F; either allows when one is allowed and none denied."`
	ExclusiveThing           string `koanf:"exclusive_thing" enum:"any_client_id,thing_name" doc:"Which client ids have the thing of a certificate that is bound to it exclusively: any, or only the thing's name."`
	QuestionMark             string `koanf:"question_mark" enum:"character,byte" doc:"What a ? in a policy stands for: a Unicode character, or a byte of UTF-8."`
	ColonWildcard            string `koanf:"colon_wildcard" enum:"past,within" doc:"Whether a * that ends a field of a resource's ARN may run past the colon, or stays within its field."`
	VariableCase             string `koanf:"variable_case" enum:"ignore,exact" doc:"Whether ${IOT:CLIENTID} is ${iot:ClientId}."`
	VariableDefaults         string `koanf:"variable_defaults" enum:"read,unknown" doc:"Whether ${key, 'text'} is text where the key has no value, as in IAM."`
	ThingVariables           string `koanf:"thing_variables" enum:"connection,both" doc:"Whether iot:Thing.X is read as iot:Connection.Thing.X (both), or is unknown."`
	ClientIDWildcards        string `koanf:"client_id_wildcards" enum:"literal,withheld" doc:"What becomes of * and ? in a client id that a variable puts in: ordinary characters, or the client id is not put in at all."`
	CertificateEscapes       string `koanf:"certificate_escapes" enum:"as_is,escaped" doc:"Whether a certificate's value is put in with a backslash before each of , \" \\ + = < > ;."`
	AttributeCase            string `koanf:"attribute_case" enum:"exact,ignore" doc:"Whether the case of NAME counts in iot:Connection.Thing.Attributes[NAME]."`
	OldVersion               string `koanf:"old_version" enum:"accept,refuse" doc:"Whether a document without Version 2012-10-17 is taken, with ${} as plain text."`
	NotAction                string `koanf:"not_action" enum:"accept,refuse" doc:"Whether a document with NotAction is taken."`
	TimeKeys                 string `koanf:"time_keys" enum:"known,unknown" doc:"Whether aws:CurrentTime and aws:EpochTime have a value."`
	PlainOnList              string `koanf:"plain_on_list" enum:"any,refuse" doc:"What an operator without ForAllValues or ForAnyValue means on a key with several values: that any fits, or the document is refused."`
	EmptyOperator            string `koanf:"empty_operator" enum:"refuse,ignore" doc:"Whether a document with a condition operator without keys is refused, or the operator passed over."`
}

// DefaultSwitches are the readings that the documentation makes most likely.
func DefaultSwitches() Switches { return Switches{}.complete() }

// Switch describes one of [Switches].
type Switch struct {
	Name   string   // as in the configuration
	Values []string // the default first
	Doc    string
}

// AllSwitches lists the switches in their order.
func AllSwitches() []Switch {
	var out []Switch
	t := reflect.TypeFor[Switches]()
	for i := range t.NumField() {
		tag := t.Field(i).Tag
		out = append(out, Switch{Name: tag.Get("koanf"), Values: strings.Split(tag.Get("enum"), ","), Doc: tag.Get("doc")})
	}
	return out
}

// Set sets a switch by its name, as on a command line.
func (s *Switches) Set(name, value string) error {
	all := AllSwitches()
	i := slices.IndexFunc(all, func(w Switch) bool { return w.Name == name })
	if i < 0 {
		var names []string
		for _, w := range all {
			names = append(names, w.Name)
		}
		return fmt.Errorf("there is no switch %q; possible are %s", name, strings.Join(names, ", "))
	}
	if !slices.Contains(all[i].Values, value) {
		return fmt.Errorf("switch %s is not %q; possible are %s", name, value, strings.Join(all[i].Values, ", "))
	}
	reflect.ValueOf(s).Elem().Field(i).SetString(value)
	return nil
}

// each visits the switches with their values.
func (s Switches) each(visit func(w Switch, value string)) {
	v := reflect.ValueOf(s)
	for i, w := range AllSwitches() {
		visit(w, v.Field(i).String())
	}
}

// complete puts the defaults in.
func (s Switches) complete() Switches {
	out := s
	s.each(func(w Switch, value string) {
		if value == "" {
			_ = out.Set(w.Name, w.Values[0]) // both are from the list
		}
	})
	return out
}

// changed lists what is not the default, for the rules.
func (s Switches) changed() map[string]any {
	out := map[string]any{}
	s.each(func(w Switch, value string) {
		if value != "" && value != w.Values[0] {
			out[w.Name] = value
		}
	})
	return out
}

func (s Switches) problems() []bridge.Problem {
	var out []bridge.Problem
	s.each(func(w Switch, value string) {
		if value != "" && !slices.Contains(w.Values, value) {
			out = append(out, bridge.Problem{Path: w.Name, Text: "\"" + value + "\" is not possible here", Remedy: "write " + strings.Join(w.Values, " or ")})
		}
	})
	return out
}
