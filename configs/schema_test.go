package configs

import (
	"encoding/json"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	"gopkg.in/yaml.v3"
)

// accepts is the part of JSON Schema that ours uses, as a reference.
func accepts(s map[string]any, v any, at string) error {
	if list, ok := s["anyOf"].([]any); ok {
		for _, one := range list {
			if accepts(one.(map[string]any), v, at) == nil {
				return nil
			}
		}
		return fmt.Errorf("%s: %v fits nothing of anyOf", at, v)
	}
	if list, ok := s["enum"].([]any); ok && !slices.ContainsFunc(list, func(e any) bool { return fmt.Sprintf("%T%v", e, e) == fmt.Sprintf("%T%v", v, v) }) {
		return fmt.Errorf("%s: %v is not in %v", at, v, list)
	}
	switch v := v.(type) {
	case string:
		if p, ok := s["pattern"].(string); ok && !regexp.MustCompile(p).MatchString(v) {
			return fmt.Errorf("%s: %q does not match %s", at, v, p)
		}
		return kind(s, at, "string")
	case bool:
		return kind(s, at, "boolean")
	case float64:
		if low, ok := s["minimum"].(float64); ok && v < low {
			return fmt.Errorf("%s: %v is too small", at, v)
		}
		if v == float64(int64(v)) && s["type"] == "integer" {
			return nil
		}
		return kind(s, at, "number")
	case []any:
		for i, e := range v {
			if err := accepts(s["items"].(map[string]any), e, fmt.Sprintf("%s[%d]", at, i)); err != nil {
				return err
			}
		}
		return kind(s, at, "array")
	case map[string]any:
		props, _ := s["properties"].(map[string]any)
		for k, e := range v {
			inner, ok := props[k].(map[string]any)
			if !ok {
				inner, ok = s["additionalProperties"].(map[string]any)
			}
			if !ok {
				return fmt.Errorf("%s.%s: unknown", at, k)
			}
			if err := accepts(inner, e, at+"."+k); err != nil {
				return err
			}
		}
		return kind(s, at, "object")
	}
	return fmt.Errorf("%s: %T", at, v)
}

func kind(s map[string]any, at, want string) error {
	if t, ok := s["type"]; ok && t != want {
		return fmt.Errorf("%s: is a %s where the schema has %v", at, want, t)
	}
	return nil
}

func parsedSchema(t *testing.T) map[string]any {
	t.Helper()
	var s map[string]any
	if err := json.Unmarshal(Schema(), &s); err != nil {
		t.Fatal(err)
	}
	return s
}

// plainYAML is a document as a JSON validator sees it.
func plainYAML(t *testing.T, text string) any {
	t.Helper()
	var v, out any
	if err := yaml.Unmarshal([]byte(text), &v); err != nil {
		t.Fatal(err)
	}
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	if err := json.Unmarshal(b, &out); err != nil {
		t.Fatal(err)
	}
	return out
}

func TestSchemaAcceptsWhatLoadAccepts(t *testing.T) {
	s := parsedSchema(t)
	texts := map[string]string{"annotated": annotate(false), "annotated entries": annotate(true)}
	for _, name := range []string{"aws-iot-core.yaml", "mosquitto.yaml", "emqx.yaml", "savings.yaml"} {
		data, err := Examples.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		texts[name] = string(data)
	}
	for _, file := range scripts(t, "good") {
		texts[file] = readScript(t, file).yaml
	}
	for name, text := range texts {
		if err := accepts(s, plainYAML(t, text), ""); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestSchemaRefusesWhatLoadRefuses(t *testing.T) {
	s := parsedSchema(t)
	for _, text := range []string{
		"spool: {durabilty: os}", "spool: {durability: ram}", "spool: {commit_delay: 5}", "spool: {max_size: 100}",
		"listeners: {name: a}", "upstreams: {a: {limits: {burst: many}}}", "routes: {up: [{qos: 3}]}", "routes: {up: [{priority: -1}]}",
	} {
		if err := accepts(s, plainYAML(t, text), ""); err == nil {
			t.Errorf("%s is accepted", text)
		}
	}
}

// Every key says what it is, and closed lists hold their defaults.
func TestEveryKeyIsDescribed(t *testing.T) {
	var walk func(s map[string]any, at string)
	walk = func(s map[string]any, at string) {
		if list, ok := s["enum"].([]any); ok && s["default"] != nil && !slices.Contains(list, s["default"]) {
			t.Errorf("%s: the default %v is not in %v", at, s["default"], list)
		}
		for k, p := range s["properties"].(map[string]any) {
			p := p.(map[string]any)
			path := strings.TrimPrefix(at+"."+k, ".")
			if p["description"] == nil && !structural(p) {
				t.Errorf("%s has no doc tag", path)
			}
			switch inner := p["additionalProperties"].(type) {
			case map[string]any:
				walk(inner, path)
			case bool:
				walk(p, path)
			}
			if items, ok := p["items"].(map[string]any); ok && items["properties"] != nil {
				walk(items, path)
			}
		}
	}
	walk(parsedSchema(t), "")
}

// structural reports a key that only holds others; its name says enough.
func structural(p map[string]any) bool { return p["properties"] != nil }

func TestPrintMasksSecrets(t *testing.T) {
	c := Default()
	u := DefaultUpstream()
	u.MQTT.Password = "hunter2"
	c.Upstreams["b"], c.Upstreams["a"] = DefaultUpstream(), u
	out := string(Print(c))
	if strings.Contains(out, "hunter2") || !strings.Contains(out, "password: ••••") || strings.Index(out, "  a:") > strings.Index(out, "  b:") {
		t.Errorf("got\n%s", out)
	}
	if again := string(Print(c)); again != out {
		t.Error("the order changes")
	}
}
