package telemetry

import (
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/ebbgate/ebbgate/internal/peers"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestServer(t *testing.T) {
	present := Status{Gateway: "gw", Version: "v1", Ready: true, Clock: "synchronised",
		Upstreams:    []Upstream{{Name: "aws", Link: LinkUp, Depth: 7, OldestAge: 2.5, Units: 9}},
		Policy:       PolicyState{AuthErrors: map[string]int64{"Connect.AuthError": 2}, SessionsEnded: 5},
		Quotas:       []Quota{{Quota: "Q06", Warned: 4, Enforced: 1}},
		SilentCloses: []SilentClose{{Reason: "not-authorized", MQTT5: "DISCONNECT 0x87", Count: 6}},
		Drops:        []Drop{{Reason: "not-authorized", Count: 3}},
		Warnings:     []Warning{{Code: "spool-full", Severity: "critical", Text: "make room"}}}
	s, err := Listen("127.0.0.1:0", func() Status { return present }, nil, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	peers.Run(t, s.Run)
	t.Cleanup(http.DefaultClient.CloseIdleConnections)
	get := func(path, host string) (int, string) {
		t.Helper()
		r, err := http.NewRequest(http.MethodGet, "http://"+s.Address()+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		if host != "" {
			r.Host = host
		}
		resp, err := http.DefaultClient.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = resp.Body.Close() }()
		b, _ := io.ReadAll(resp.Body)
		return resp.StatusCode, string(b)
	}

	if code, _ := get("/livez", ""); code != 200 {
		t.Errorf("livez %d", code)
	}
	if code, _ := get("/readyz", "localhost"); code != 200 {
		t.Errorf("readyz %d", code)
	}
	present.Ready = false
	if code, body := get("/readyz", ""); code != 503 || !strings.Contains(body, "make room") {
		t.Errorf("not ready: %d %q", code, body)
	}
	var got Status
	_, body := get("/api/v1/status", "")
	if err := json.Unmarshal([]byte(body), &got); err != nil || got.Upstreams[0].Depth != 7 {
		t.Errorf("status %q, %v", body, err)
	}
	_, body = get("/metrics", "")
	for _, want := range []string{
		`ebbgate_upstream_spooled_messages{upstream="aws"} 7`,
		`ebbgate_upstream_oldest_seconds{upstream="aws"} 2.5`,
		`ebbgate_dropped_messages_total{reason="not-authorized"} 3`,
		`ebbgate_warning{code="spool-full",severity="critical"} 1`,
		`ebbgate_auth_errors_total{metric="Connect.AuthError"} 2`,
		`ebbgate_policy_sessions_ended_total 5`,
		`ebbgate_aws_quota_exceeded_total{effect="warned",quota="Q06"} 4`,
		`ebbgate_aws_quota_exceeded_total{effect="enforced",quota="Q06"} 1`,
		`ebbgate_silent_closes_total{mqtt5="DISCONNECT 0x87",reason="not-authorized"} 6`,
		`ebbgate_ready 0`,
	} {
		if !strings.Contains(body, want) {
			t.Errorf("metrics lack %s", want)
		}
	}
	// A web page that has its own name point at loopback gets nothing.
	if code, _ := get("/api/v1/status", "evil.example"); code != http.StatusMisdirectedRequest {
		t.Errorf("a foreign host is answered with %d", code)
	}
	if _, err := Listen(s.Address(), nil, nil, slog.New(slog.DiscardHandler)); err == nil || !strings.Contains(err.Error(), "admin.address") {
		t.Errorf("a port in use: %v", err)
	}
}

func TestRate(t *testing.T) {
	var r Rate
	at := time.Unix(1000, 0)
	for i := range 100 {
		r.Observe(at.Add(time.Duration(i)*100*time.Millisecond), int64(i*10))
	}
	if got := r.Observe(at.Add(10*time.Second), 1000); got < 95 || got > 105 {
		t.Errorf("100 a second is seen as %v", got)
	}
	if got := r.Observe(at.Add(30*time.Second), 1000); got > 60 {
		t.Errorf("20 s of silence are seen as %v", got)
	}
	long := Rate{Window: time.Minute}
	for i := range 120 { // ten seconds on, ten seconds off
		long.Observe(at.Add(time.Duration(i)*time.Second), int64(i/20*1000+min(i%20, 10)*100))
	}
	if got := long.Observe(at.Add(2*time.Minute), 6000); got < 45 || got > 55 {
		t.Errorf("50 a second over a minute are seen as %v", got)
	}
}
