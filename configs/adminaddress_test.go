package configs

import (
	"path/filepath"
	"strings"
	"testing"
)

// Who only asks a running gateway needs the address of its admin port, and nothing
// else of a configuration to be right.
func TestAdminAddress(t *testing.T) {
	const broken = "policy: {things: nowhere.yaml}\nupstreams: {a: {endpoint: \"mqtts://x\", password: \"${NOT_SET}\"}}\n"
	for _, c := range []struct {
		text      string
		env, sets []string
		want      string // the address, or what is wrong
	}{
		{"", nil, nil, "127.0.0.1:9883"},
		{broken, nil, nil, "127.0.0.1:9883"},
		{broken + "admin: {address: \"127.0.0.1:7\"}\n", nil, nil, "127.0.0.1:7"},
		{broken, []string{"EBBGATE_ADMIN__ADDRESS=127.0.0.1:8"}, nil, "127.0.0.1:8"},
		{broken, nil, []string{"admin.address=127.0.0.1:9"}, "127.0.0.1:9"},
		{"admin: {address: \"\"}\n", nil, nil, ""},
		{"admin: {address: 0.0.0.0:9}\n", nil, nil, "!can be reached from the network"},
		{"admin: {adress: x}\n", nil, nil, "!adress"},
		{"admin: [", nil, nil, "!site.yaml"},
		{"", nil, []string{"admin.adress=x"}, "!adress"},
	} {
		path := ""
		if c.text != "" {
			path = put(t, t.TempDir(), "site.yaml", c.text)
		}
		got, err := AdminAddress(path, c.env, c.sets)
		if err != nil {
			got = "!" + err.Error()
		}
		if wrong, bad := strings.CutPrefix(c.want, "!"); got != c.want && (!bad || err == nil || !strings.Contains(got, wrong)) {
			t.Errorf("%q %v %v: %s, want %s", c.text, c.env, c.sets, got, c.want)
		}
	}
	if _, err := AdminAddress(filepath.Join(t.TempDir(), "none.yaml"), nil, nil); err == nil || !strings.Contains(err.Error(), "cannot be read") {
		t.Error(err)
	}
}
