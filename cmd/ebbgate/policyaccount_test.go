package main

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// smallAccount answers as the control plane of AWS IoT does for an account of
// two policies; the second says of everything that AWS denies it.
func smallAccount(t *testing.T) string {
	const arn = "arn:aws:iot:eu-central-1:123456789012:"
	document := func(action string) string {
		return `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"` + action + `","Resource":"` + arn + `topic/a"}]}`
	}
	documents := map[string]string{"agreed": document("iot:Publish"), "disputed": document("iot:Receive")}
	answer := func(w http.ResponseWriter, v any) {
		if err := json.NewEncoder(w).Encode(v); err != nil {
			t.Error(err)
		}
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /policies", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, map[string]any{"policies": []any{map[string]any{"policyName": "agreed", "policyArn": arn + "policy/agreed"}, map[string]any{"policyName": "disputed", "policyArn": arn + "policy/disputed"}}})
	})
	mux.HandleFunc("GET /policies/{name}", func(w http.ResponseWriter, r *http.Request) {
		answer(w, map[string]any{"policyName": r.PathValue("name"), "policyDocument": documents[r.PathValue("name")], "defaultVersionId": "1"})
	})
	mux.HandleFunc("POST /test-authorization", func(w http.ResponseWriter, r *http.Request) {
		raw, err := io.ReadAll(r.Body)
		if err != nil {
			t.Error(err)
		}
		var in struct {
			AuthInfos []struct {
				Resources []string
			}
			PolicyNamesToAdd []string
		}
		if err := json.Unmarshal(raw, &in); err != nil {
			t.Error(err)
		}
		var results []any
		for _, q := range in.AuthInfos {
			decision := "IMPLICIT_DENY"
			if in.PolicyNamesToAdd[0] == "agreed" && strings.HasSuffix(q.Resources[0], "topic/a") {
				decision = "ALLOWED"
			}
			results = append(results, map[string]any{"authDecision": decision})
		}
		answer(w, map[string]any{"authResults": results})
	})
	srv := httptest.NewServer(mux)
	t.Cleanup(srv.Close)
	none := filepath.Join(t.TempDir(), "none")
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_CA_BUNDLE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_REGION": "eu-central-1", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_IOT": "",
	} {
		t.Setenv(name, value)
	}
	return srv.URL
}

// TestPullAndVerify shows what a person sees of both commands, and the exit
// codes that a script sees.
func TestPullAndVerify(t *testing.T) {
	url, out := smallAccount(t), filepath.Join(t.TempDir(), "site")
	run := func(want int, args ...string) (string, string) {
		t.Helper()
		var stdout, stderr bytes.Buffer
		if code := execute(append([]string{"policy"}, args...), &stdout, &stderr); code != want {
			t.Fatalf("%q ends with %d: %s%s", args, code, &stdout, &stderr)
		}
		return stdout.String(), stderr.String()
	}
	contains := func(text string, parts ...string) {
		t.Helper()
		for _, p := range parts {
			if !strings.Contains(text, p) {
				t.Errorf("lacks %q:\n%s", p, text)
			}
		}
	}
	pull := []string{"pull", "--out", out, "--only", "policies", "--endpoint-url", url}
	text, progress := run(exitOK, append(pull, "--dry-run")...)
	contains(text, "+ policy agreed\n+ policy disputed\n", "account 123456789012, eu-central-1: 2 policies, 0 things, 0 groups, 0 certificates read; nothing was changed in "+out)
	contains(progress, "policies: 2 of 2\npolicy documents: 2 of 2\n")
	if _, err := os.Stat(out); err == nil {
		t.Error("a dry run made the folder")
	}
	text, _ = run(exitOK, pull...)
	contains(text, "+ policy agreed\n", "written to "+out)
	text, _ = run(exitOK, append(pull, "--json")...)
	contains(text, `"account": "123456789012"`, `"policies": 2`, `"changes": []`)

	verify := []string{"verify", "--against-aws", "--policies", filepath.Join(out, "policies"), "--endpoint-url", url}
	text, errors := run(exitFailed, verify...)
	contains(text, "HERE     AWS            QUESTION\nALLOWED  IMPLICIT_DENY  Receive topic/a\n", `policy disputed as client "ebbgate-verify"`, "here by Statement[0] of policy disputed", "4 questions asked, 1 differ, 0 not asked")
	contains(errors, "ebbgate: 1 of 4 answers differ\n")
	for line := range strings.Lines(text) {
		if len(line) > 81 {
			t.Errorf("does not fit 80 columns: %s", line)
		}
	}
	text, _ = run(exitFailed, append(verify, "--json")...)
	contains(text, `"here": "ALLOWED"`, `"aws": "IMPLICIT_DENY"`, `"policies": [`)

	// Cases ask only what they ask.
	cases := filepath.Join(t.TempDir(), "cases.jsonl")
	document, err := os.ReadFile(filepath.Join(out, "policies", "agreed.json"))
	if err != nil {
		t.Fatal(err)
	}
	line := `{"id":"one","policies":[` + string(document) + `],"context":{"client_id":"c"},"request":{"action":"iot:Publish","resource":"arn:aws:iot:eu-central-1:123456789012:topic/a"},"expect":"allow","why":"-","source":"-","topic":"-","confidence":"doc"}` + "\n"
	if err := os.WriteFile(cases, []byte(line), 0o600); err != nil {
		t.Fatal(err)
	}
	text, _ = run(exitOK, append(verify, cases)...)
	contains(text, "1 question asked, 0 differ, 0 not asked")
}
