package bridge

import (
	"encoding/json"
	"fmt"
	"slices"
)

// DeviceProperties are the user properties that a device has sent, without those
// whose names are the gateway's; nil when there are none.
func DeviceProperties(user []UserProperty) []UserProperty {
	if len(user) == 0 {
		return nil
	}
	return slices.Clip(foreign(user))
}

// UserValues are user properties by their names, as they stand in JSON: a text, or
// a list of texts for a name that is there more than once.
type UserValues map[string][]string

// UserValuesOf puts properties under their names; nil for none.
func UserValuesOf(user []UserProperty) UserValues {
	if len(user) == 0 {
		return nil
	}
	v := make(UserValues, len(user))
	for _, u := range user {
		v[u.Key] = append(v[u.Key], u.Value)
	}
	return v
}

// MarshalJSON implements json.Marshaler.
func (v UserValues) MarshalJSON() ([]byte, error) {
	all := make(map[string]any, len(v))
	for name, values := range v {
		if all[name] = any(values); len(values) == 1 {
			all[name] = values[0]
		}
	}
	return json.Marshal(all)
}

// UnmarshalJSON implements json.Unmarshaler.
func (v *UserValues) UnmarshalJSON(b []byte) error {
	var all map[string]json.RawMessage
	if err := json.Unmarshal(b, &all); err != nil {
		return err
	}
	*v = make(UserValues, len(all))
	for name, raw := range all {
		var one string
		if json.Unmarshal(raw, &one) == nil && raw[0] == '"' {
			(*v)[name] = []string{one}
			continue
		}
		var several []string
		if err := json.Unmarshal(raw, &several); err != nil {
			return fmt.Errorf("user property %q is neither a text nor a list of texts", name)
		}
		(*v)[name] = several
	}
	return nil
}

// Envelope is the payload that [OriginEnvelope] makes of s: JSON around the
// payload that says where it came from. With inside the message stands in another
// one, which cannot carry its user properties: they stand in the envelope, too.
func Envelope(s *Stored, inside bool) []byte {
	if inside {
		return envelope(s, UserValuesOf(DeviceProperties(s.User)))
	}
	return envelope(s, nil)
}
