package scenario

import (
	"encoding/json"
	"fmt"
	"strings"
	"sync"
	"testing"
	"time"

	mqtt "github.com/eclipse/paho.mqtt.golang"
)

// services play AWS's shadow and jobs services as a client of the cloud's
// broker: a document and a version for each thing, a delta when what is desired
// is not what is reported.
type services struct {
	client mqtt.Client

	mu       sync.Mutex
	versions map[string]int
	reported map[string]any
	seen     []string // topic and payload of each request
}

// serve starts the services at a broker.
func serve(t *testing.T, addr string) *services {
	t.Helper()
	s := &services{versions: map[string]int{}, reported: map[string]any{}}
	s.client = mqtt.NewClient(mqtt.NewClientOptions().AddBroker("tcp://" + addr).SetClientID("services").SetAutoReconnect(false))
	must(t, "services: connect", s.client.Connect())
	t.Cleanup(func() { s.client.Disconnect(100) })
	must(t, "services: subscribe", s.client.SubscribeMultiple(map[string]byte{
		"$aws/things/+/shadow/get": 1, "$aws/things/+/shadow/update": 1, "$aws/things/+/jobs/get": 1, "$aws/certificates/create/json": 1,
	}, func(_ mqtt.Client, m mqtt.Message) { s.answer(m.Topic(), m.Payload()) }))
	return s
}

// must waits for what a client does.
func must(t *testing.T, what string, token mqtt.Token) {
	t.Helper()
	if !token.WaitTimeout(10*time.Second) || token.Error() != nil {
		t.Fatalf("%s: %v", what, token.Error())
	}
}

// answer answers one request.
func (s *services) answer(topic string, payload []byte) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.seen = append(s.seen, topic+" "+string(payload))
	var request struct {
		State struct {
			Reported any `json:"reported,omitempty"`
			Desired  any `json:"desired,omitempty"`
		} `json:"state"`
		Token string `json:"clientToken,omitempty"`
	}
	if err := json.Unmarshal(payload, &request); err != nil && len(payload) > 0 {
		s.say(topic+"/rejected", map[string]any{"code": 400, "message": "Invalid JSON"})
		return
	}
	out := map[string]any{"timestamp": time.Now().Unix()}
	if request.Token != "" {
		out["clientToken"] = request.Token
	}
	thing := strings.Split(topic, "/")[2]
	switch {
	case strings.HasSuffix(topic, "/shadow/get"):
		out["version"], out["state"] = s.versions[thing], map[string]any{"reported": s.reported[thing]}
	case strings.HasSuffix(topic, "/shadow/update"):
		s.versions[thing]++
		out["version"], out["state"] = s.versions[thing], request.State
		if request.State.Reported != nil {
			s.reported[thing] = request.State.Reported
		}
		if request.State.Desired != nil {
			s.say(topic+"/delta", map[string]any{"version": s.versions[thing], "state": request.State.Desired})
		}
	case strings.HasPrefix(topic, "$aws/certificates/"):
		out = map[string]any{"certificateId": fmt.Sprint(len(s.seen)), "privateKey": "secret"}
	default:
		out["queuedJobs"] = []any{}
	}
	s.say(topic+"/accepted", out)
}

func (s *services) say(topic string, what any) {
	text, err := json.Marshal(what)
	if err != nil {
		panic(err)
	}
	s.client.Publish(topic, 1, false, text)
}

// requests lists what the services have seen whose text contains a part.
func (s *services) requests(part string) []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var out []string
	for _, r := range s.seen {
		if strings.Contains(r, part) {
			out = append(out, r)
		}
	}
	return out
}
