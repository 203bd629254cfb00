package configs

import (
	"errors"
	"os"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/policy"
)

// Every good file is valid, and what it makes is as its golden file says.
func TestGood(t *testing.T) {
	for _, file := range scripts(t, "good") {
		name := filepath.Base(file)
		t.Run(strings.TrimSuffix(name, ".yaml"), func(t *testing.T) {
			s, dir := readScript(t, file), site(t)
			cfg, err := load(source{path: put(t, dir, name, s.yaml), env: s.env, sets: s.sets, hostname: func() (string, error) { return "plant7", nil }})
			if err != nil {
				t.Fatal(err)
			}
			got := strings.ReplaceAll(string(Print(cfg)), dir, "DIR")
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil || got != string(want) {
				t.Errorf("makes\n%s\nwant\n%s%v", got, want, err)
			}
		})
	}
}

func TestExamples(t *testing.T) {
	env := []string{"AWS_IOT_ENDPOINT=x-ats.iot.eu-central-1.amazonaws.com", "MOSQUITTO_PASSWORD=s3cret"}
	for _, name := range []string{"ebbgate.yaml", "aws-iot-core.yaml", "mosquitto.yaml", "emqx.yaml", "savings.yaml"} {
		t.Run(name, func(t *testing.T) {
			data, err := Examples.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			cfg, err := loaded(put(t, site(t), name, string(data)), env, nil)
			if err != nil {
				t.Fatal(err)
			}
			if strings.Contains(string(Print(cfg)), "s3cret") {
				t.Error("print shows a secret")
			}
		})
	}
	engine, err := policy.Load(policy.Options{Things: "things.yaml", Policies: "policies"})
	if err != nil || !engine.HasPolicy("local") {
		t.Errorf("the registry and the policy beside the examples: %v", err)
	}
	for _, name := range []string{"things.yaml", "policies/local.json"} {
		if _, err := Examples.ReadFile(name); err != nil {
			t.Error(err)
		}
	}
}

func TestLayers(t *testing.T) {
	dir := site(t)
	file := put(t, dir, "a.yaml", `
spool: {commit_delay: 1s, headroom: 100MiB, durability: os}
listeners:
  - {name: a, address: "127.0.0.1:1"}
  - {name: b, address: "127.0.0.1:2"}
upstreams:
  eu-west: {endpoint: mqtt://file, username: u}
`)
	cfg, err := loaded(file, []string{
		"EBBGATE_SPOOL__COMMIT_DELAY=2s", "EBBGATE_SPOOL__DURABILITY=memory",
		"EBBGATE_LISTENERS__1__NAME=beta", "EBBGATE_LISTENERS__2__ADDRESS=127.0.0.1:3", "EBBGATE_LISTENERS__2__NAME=c",
		"EBBGATE_UPSTREAMS__EU_WEST__ENDPOINT=mqtt://env", "EBBGATE_UPSTREAMS__NEW__ENDPOINT=mqtt://new",
		"EBBGATE_ROUTES__LOCAL_ONLY=[a/#, b]", "EBBGATE_SHUTDOWN_TIMEOUT=3s",
		"EBBGATE_HOME=/nowhere", "OTHER=x",
	}, []string{"spool.commit_delay=3s", "listeners[0].limits.connections=7", "routes.local_only[0]=c/#", "log.level=debug",
		"routes.up=[{name: t, from: dt/#, upstream: new}]", "upstreams.new.password=x=y", "upstreams.new.username=${OTHER}"})
	if err != nil {
		t.Fatal(err)
	}
	for what, ok := range map[string]bool{
		"default":            cfg.Admin.Address == "127.0.0.1:9883",
		"file over default":  cfg.Spool.Headroom == 100<<20,
		"env over file":      cfg.Spool.Durability == "memory" && cfg.Upstreams["eu-west"].MQTT.Endpoint == "mqtt://env",
		"set over env":       cfg.Spool.CommitDelay == 3*time.Second,
		"rest of an entry":   cfg.Broker.Listeners[1].Name == "beta" && cfg.Broker.Listeners[1].Address == "127.0.0.1:2",
		"entry added":        len(cfg.Broker.Listeners) == 3 && cfg.Broker.Listeners[2].Address == "127.0.0.1:3",
		"entry by brackets":  cfg.Broker.Listeners[0].Limits.Connections == 7,
		"dash in a name":     cfg.Upstreams["eu-west"].MQTT.Username == "u" && len(cfg.Upstreams) == 2,
		"list as a whole":    slices.Equal(cfg.Routes.LocalOnly, []string{"c/#", "b"}),
		"list of mappings":   len(cfg.Routes.Up) == 1 && cfg.Routes.Up[0].QoS == "1",
		"value with =":       string(cfg.Upstreams["new"].MQTT.Password) == "x=y",
		"reference in a set": cfg.Upstreams["new"].MQTT.Username == "x",
		"top level by env":   cfg.ShutdownTimeout == 3*time.Second,
	} {
		if !ok {
			t.Errorf("%s is wrong:\n%s", what, Print(cfg))
		}
	}
}

func TestReferences(t *testing.T) {
	dir := site(t)
	cfg, err := loaded(put(t, dir, "a.yaml", `
gateway: {id: "g-${N}"}
listeners:
  - limits: {connections: "${N}"}
upstreams:
  a: {endpoint: "mqtt://${HOST}", username: "$${N}", password: "file:${FOLDER}/emqx"}
  b: {endpoint: mqtt://b, username: u, password: "pa$$w${N}rd"}
routes:
  up: [{name: a, from: dt/#, upstream: a, topic: "${SITE}/${topic}/${topic[1]}"}]
`), []string{"N=5", "HOST=${N}", "FOLDER=secrets", "SITE=s1"}, nil)
	if cfg != nil || !strings.Contains(err.Error(), `"mqtt://${N}"`) {
		t.Fatalf("what a variable holds is not a reference: got %v", err)
	}
	cfg, err = loaded(filepath.Join(dir, "a.yaml"), []string{"N=5", "HOST=h", "FOLDER=secrets", "SITE=s1"}, nil)
	if err != nil {
		t.Fatal(err)
	}
	a, b := cfg.Upstreams["a"].MQTT, cfg.Upstreams["b"].MQTT
	if cfg.Gateway.ID != "g-5" || cfg.Broker.Listeners[0].Limits.Connections != 5 || a.Endpoint != "mqtt://h" || a.Username != "${N}" ||
		string(a.Password) != "s3cret" || string(b.Password) != "pa$$w5rd" || cfg.Routes.Up[0].Topic != "s1/${topic}/${topic[1]}" {
		t.Errorf("got\n%s%q", Print(cfg), a.Password)
	}
	if a.ClientID != "g-5-a" {
		t.Errorf("client id %q", a.ClientID)
	}
	again, err := loaded(put(t, dir, "again.yaml", string(Print(cfg))), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, u := range again.Upstreams { // print masks it
		u.MQTT.Password = cfg.Upstreams[name].MQTT.Password
		again.Upstreams[name] = u
	}
	if !reflect.DeepEqual(cfg, again) {
		t.Errorf("what print shows makes\n%s\nnot\n%s", Print(again), Print(cfg))
	}
}

func TestYAMLShortcuts(t *testing.T) {
	cfg, err := loaded(put(t, site(t), "a.yaml", `
gateway: {id: g}
log:
admin: {address: ~}
upstreams:
  a: &base
    endpoint: mqtt://a
    limits: &slow {messages_per_second: 1}
  b:
    <<: *base
    endpoint: mqtt://b
  c: {<<: [*base], limits: {<<: *slow, burst: 2}}
`), nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]string{"a": "mqtt://a", "b": "mqtt://b", "c": "mqtt://a"} {
		if u := cfg.Upstreams[name].MQTT; u.Endpoint != want || u.Limits.MessagesPerSecond != 1 {
			t.Errorf("%s: %+v", name, u)
		}
	}
	if cfg.Upstreams["c"].MQTT.Limits.Burst != 2 || cfg.Admin.Address == "" || cfg.Log.Level != "info" {
		t.Errorf("got\n%s", Print(cfg))
	}
}

func TestReadFailures(t *testing.T) {
	dir := site(t)
	for path, want := range map[string]string{
		filepath.Join(dir, "none.yaml"): "none.yaml: cannot be read: it does not exist; name the configuration file",
		dir:                             ": cannot be read: it is a directory; ",
	} {
		cfg, err := loaded(path, nil, nil)
		invalid, ok := errors.AsType[*Invalid](err)
		if cfg != nil || !ok || len(invalid.Problems) != 1 || invalid.Problems[0].Code != codeRead || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", path, err)
		}
	}
	big := put(t, dir, "big.yaml", strings.Repeat("# x\n", maxFile/4+1))
	if _, err := loaded(big, nil, nil); err == nil || err.Error() != big+":1: is larger than 1048576 bytes; is it the right file?" {
		t.Error(err)
	}
	secret := put(t, dir, "big.secret", strings.Repeat("x", maxSecret+1))
	_, err := loaded("", nil, []string{"gateway.id=g", "upstreams.a.endpoint=mqtt://h", "upstreams.a.username=u", "upstreams.a.password=file:" + secret,
		"policy.things=", "policy.policies="})
	if err == nil || !strings.Contains(err.Error(), "--set: upstreams.a.password: refers to "+secret+", which is larger than 65536 bytes") {
		t.Error(err)
	}
}

func TestWithoutFile(t *testing.T) {
	cfg, err := Load("", []string{"EBBGATE_POLICY__THINGS=", "EBBGATE_POLICY__POLICIES="}, nil)
	if err != nil {
		t.Fatal(err)
	}
	if wd, _ := os.Getwd(); cfg.Spool.Dir != filepath.Join(wd, "data") {
		t.Errorf("spool.dir is %q", cfg.Spool.Dir)
	}
	t.Chdir(t.TempDir())
	_, err = loaded("", nil, nil)
	if err == nil || !strings.HasPrefix(err.Error(), "defaults: policy.") {
		t.Errorf("here is neither a registry nor a policy folder below defaults: %v", err)
	}
}

func TestSecretsAreNotInProblems(t *testing.T) {
	for _, password := range []string{"hunter2${NONE}", "file:none/hunter2", "[hunter2]"} {
		_, err := loaded(put(t, site(t), "a.yaml", "gateway: {id: g}\nupstreams:\n  a: {endpoint: mqtt://h, username: u, password: "+password+"}\n"), nil, nil)
		if err == nil || strings.Contains(strings.ReplaceAll(err.Error(), "none/hunter2", ""), "hunter2") {
			t.Errorf("%s: %v", password, err)
		}
	}
}
