package account

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// TestThrottling has a control plane that allows ten calls a second, as AWS's
// quotas do: the pull becomes that slow, in virtual time, and does not fail.
func TestThrottling(t *testing.T) {
	quiet(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := newCloud(t)
		for i := range 300 {
			c.things[fmt.Sprintf("t-%03d", i)] = &cloudThing{}
		}
		begin, allowed, refused := time.Now(), 0.0, 0
		c.before = func(string, *http.Request) (string, int) {
			if elapsed := time.Since(begin).Seconds(); allowed+1 > elapsed*10+10 {
				refused++
				return "ThrottlingException", 429
			}
			allowed++
			return "", 0
		}
		a, err := Open(t.Context(), Options{Region: region, transport: c})
		if err != nil {
			t.Fatal(err)
		}
		r, err := a.Pull(t.Context(), PullOptions{Out: dir})
		if err != nil || r.Things != 300 {
			t.Fatal(r, err)
		}
		took := time.Since(begin)
		t.Logf("%d calls answered, %d throttled, in %v", int(allowed), refused, took)
		if refused == 0 || took < 25*time.Second || took > 3*time.Minute {
			t.Error("not at the pace of the account")
		}
		if refused > int(allowed)/2 {
			t.Error("the client does not slow down, it only retries")
		}
	})
}

// TestThrottledForGood ends after a bounded time with an error that says what
// to do, and what was fetched is kept.
func TestThrottledForGood(t *testing.T) {
	quiet(t)
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		c := plant(t)
		c.before = func(call string, _ *http.Request) (string, int) {
			if call == "ListThings" {
				return "ThrottlingException", 429
			}
			return "", 0
		}
		a, err := Open(t.Context(), Options{Region: region, transport: c})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, err = a.Pull(t.Context(), PullOptions{Out: dir})
		if err == nil || time.Since(begin) > 10*time.Minute {
			t.Fatal(err, time.Since(begin))
		}
		mustContain(t, err.Error(), "things: iot:ListThings is throttled still after 15 attempts", "--parallel 1", "the same command goes on from here")
	})
}

// TestResume cuts a pull short in the middle: nothing is replaced, and the
// next one asks only what is left.
func TestResume(t *testing.T) {
	c := newCloud(t)
	const things = 40
	for i := range things {
		c.things[fmt.Sprintf("t-%02d", i)] = &cloudThing{}
	}
	c.policies["p"] = &cloudPolicy{versions: []string{allowAll}}
	dir := t.TempDir()
	write(t, dir, map[string]string{"things.yaml": "users: {me: {}}\n"})
	ctx, cancel := context.WithCancel(t.Context())
	c.before = func(_ string, _ *http.Request) (string, int) {
		if c.calls["ListThingPrincipalsV2"] == 15 {
			cancel()
		}
		return "", 0
	}
	a := c.open(t, Options{now: someday, Parallel: 2})
	_, err := a.Pull(ctx, PullOptions{Out: dir})
	interrupted, ok := errors.AsType[*InterruptedError](err)
	if !ok || !errors.Is(err, context.Canceled) {
		t.Fatal(err)
	}
	mustContain(t, err.Error(), "interrupted; nothing was replaced, and the same command goes on from here")
	if got := tree(t, dir); len(got) != 1 || got["things.yaml"] != "users: {me: {}}\n" {
		t.Errorf("there is %v", got)
	}
	if interrupted.Kept < 14 || interrupted.Kept > 20 {
		t.Errorf("%d answers kept", interrupted.Kept)
	}

	// A crash cuts the journal's last line as well.
	journal := filepath.Join(dir, workFolder, "journal.jsonl")
	f, err := os.OpenFile(journal, os.O_APPEND|os.O_WRONLY, 0)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.WriteString(`{"key":"principals of things/t-39","val`); err != nil || f.Close() != nil {
		t.Fatal(err)
	}
	c.heal()
	r := mustPull(t, a, PullOptions{Out: dir})
	if calls := c.called(); r.Things != things || r.Resumed == 0 || calls["GetPolicy"] != 0 || calls["ListThingPrincipalsV2"] >= things-10 {
		t.Errorf("%d things, %d resumed, calls %v", r.Things, r.Resumed, calls)
	}
	if text := tree(t, dir)["things.yaml"]; strings.Count(text, "t-") != things || !strings.Contains(text, "users: {me: {}}") {
		t.Error(text)
	}
	c.heal()
	if r := mustPull(t, a, PullOptions{Out: dir}); r.Resumed != 0 || c.called()["ListThingPrincipalsV2"] != things {
		t.Error("a pull that was done is taken up again")
	}
}

// TestJournalOfSomethingElse begins anew with another region, after a day and
// with Restart, and refuses to mix accounts.
func TestJournalOfSomethingElse(t *testing.T) {
	c := plant(t)
	begun := func(t *testing.T, dir string, o Options) *Account {
		t.Helper()
		c.before = func(call string, _ *http.Request) (string, int) {
			if call == "ListThings" {
				return "InvalidRequestException", 400
			}
			return "", 0
		}
		o.now = someday
		a := c.open(t, o)
		if _, err := a.Pull(t.Context(), PullOptions{Out: dir}); err == nil {
			t.Fatal("not interrupted")
		}
		c.heal()
		return a
	}
	t.Run("restart", func(t *testing.T) {
		dir := t.TempDir()
		a := begun(t, dir, Options{})
		if r := mustPull(t, a, PullOptions{Out: dir, Restart: true}); r.Resumed != 0 || c.calls["GetPolicy"] != 2 {
			t.Error(r, c.calls)
		}
	})
	t.Run("a day later", func(t *testing.T) {
		dir := t.TempDir()
		a := begun(t, dir, Options{})
		a.now = func() time.Time { return someday().Add(25 * time.Hour) }
		if r := mustPull(t, a, PullOptions{Out: dir}); r.Resumed != 0 {
			t.Error(r)
		}
	})
	t.Run("another account", func(t *testing.T) {
		dir := t.TempDir()
		a := begun(t, dir, Options{})
		j, err := openJournal(filepath.Join(dir, workFolder, "journal.jsonl"), journalHead{Region: region, Endpoint: a.endpoint, Started: someday()}, false)
		if err != nil {
			t.Fatal(err)
		}
		if err := errors.Join(j.put(accountKey, "999999999999"), j.close()); err != nil {
			t.Fatal(err)
		}
		_, err = a.Pull(t.Context(), PullOptions{Out: dir})
		if err == nil {
			t.Fatal("two accounts are mixed")
		}
		mustContain(t, err.Error(), "was of account 999999999999, these credentials are for 123456789012; add --restart")
	})
	t.Run("two at once", func(t *testing.T) {
		dir := t.TempDir()
		a := begun(t, dir, Options{})
		j, err := openJournal(filepath.Join(dir, workFolder, "journal.jsonl"), journalHead{Region: region, Endpoint: a.endpoint, Started: someday()}, false)
		if err != nil {
			t.Fatal(err)
		}
		defer func() { _ = j.close() }()
		if _, err := a.Pull(t.Context(), PullOptions{Out: dir}); err == nil || !strings.Contains(err.Error(), "in use by another pull") {
			t.Error(err)
		}
	})
}

// TestRefusals are one line each, with the IAM action or the way to log in.
func TestRefusals(t *testing.T) {
	for name, c := range map[string]struct {
		call, code string
		status     int
		want       string
	}{
		"denied":           {"ListPolicies", "AccessDeniedException", 403, "AWS denies iot:ListPolicies to these credentials (no ListPolicies for arn:aws:iam::123456789012:user/me); allow iot:ListPolicies in their IAM policy, docs/how-to/bring-your-own-policies.md has the whole of it"},
		"denied later":     {"DescribeCertificate", "AccessDeniedException", 403, "certificates' PEM and dates: AWS denies iot:DescribeCertificate"},
		"IoT's own word":   {"ListThings", "UnauthorizedException", 401, "allow iot:ListThings in their IAM policy"},
		"the newer call":   {"ListThingPrincipalsV2", "AccessDeniedException", 403, "allow iot:ListThingPrincipalsV2 in"},
		"expired":          {"ListPolicies", "ExpiredTokenException", 403, "AWS does not take the credentials (ExpiredTokenException: no ListPolicies for arn:aws:iam::123456789012:user/me); log in again"},
		"unknown key":      {"ListPolicies", "UnrecognizedClientException", 403, "log in again"},
		"something else":   {"ListThings", "InvalidRequestException", 400, "things: iot:ListThings: AWS answers InvalidRequestException: no ListThings"},
		"resumable ending": {"ListThings", "InvalidRequestException", 400, "; nothing was replaced, and the same command goes on from here ("},
	} {
		t.Run(name, func(t *testing.T) {
			cloud := plant(t)
			cloud.before = func(call string, _ *http.Request) (string, int) {
				if call == c.call {
					return c.code, c.status
				}
				return "", 0
			}
			_, err := cloud.open(t, Options{}).Pull(t.Context(), PullOptions{Out: t.TempDir()})
			if err == nil {
				t.Fatal("no error")
			}
			mustContain(t, err.Error(), c.want)
			if strings.ContainsAny(err.Error(), "\n\r\x1b") {
				t.Errorf("not one line: %q", err)
			}
		})
	}
}

// TestOpenWithout names what is missing, before any call.
func TestOpenWithout(t *testing.T) {
	quiet(t)
	if _, err := Open(t.Context(), Options{}); err == nil || !strings.Contains(err.Error(), "no AWS region is known; add --region") {
		t.Error(err)
	}
	if _, err := Open(t.Context(), Options{Region: region, Profile: "nobody"}); err == nil || !strings.Contains(err.Error(), "nobody") || strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	_, err := Open(t.Context(), Options{Region: region})
	if err == nil {
		t.Fatal("opened without credentials")
	}
	mustContain(t, err.Error(), "no AWS credentials: ", "aws sso login", "--profile")
	if strings.Contains(err.Error(), "\n") {
		t.Error(err)
	}
}

// TestUnreachable says so without the noise of three layers.
func TestUnreachable(t *testing.T) {
	quiet(t)
	synctest.Test(t, func(t *testing.T) {
		a, err := Open(t.Context(), Options{Region: region, transport: unreachable{}})
		if err != nil {
			t.Fatal(err)
		}
		begin := time.Now()
		_, err = a.Verify(t.Context(), VerifyOptions{})
		if took := time.Since(begin); err == nil || took < 5*time.Second || took > 20*time.Second {
			t.Fatal(err, took)
		}
		mustContain(t, err.Error(), "iot:ListPolicies: AWS cannot be reached", "check the region")
	})
}

type unreachable struct{}

func (unreachable) Do(r *http.Request) (*http.Response, error) {
	return nil, fmt.Errorf("dial tcp: lookup %s: %w", r.URL.Host, os.ErrDeadlineExceeded)
}

// TestOlderRegion does not know how a principal is attached: the older call
// answers, and the report says what it cannot.
func TestOlderRegion(t *testing.T) {
	c := plant(t)
	c.before = func(call string, _ *http.Request) (string, int) {
		if call == "ListThingPrincipalsV2" {
			return "UnknownOperationException", 404
		}
		return "", 0
	}
	dir := t.TempDir()
	r := mustPull(t, c.open(t, Options{}), PullOptions{Out: dir})
	text := tree(t, dir)["things.yaml"]
	if strings.Contains(text, "exclusive") || !strings.Contains(text, "certificates: [") {
		t.Error(text)
	}
	mustContain(t, fmt.Sprint(r.Notes), "does not say which certificates are bound to one thing exclusively")
}

// TestDeletedMeanwhile has items that are listed and then gone.
func TestDeletedMeanwhile(t *testing.T) {
	c := plant(t)
	c.before = func(call string, r *http.Request) (string, int) {
		if call == "GetPolicy" && strings.HasSuffix(r.URL.Path, "/no-secrets") ||
			call == "ListThingPrincipalsV2" && strings.Contains(r.URL.Path, "press-2") ||
			call == "DescribeCertificate" && strings.HasSuffix(r.URL.Path, made(2)) ||
			call == "DescribeThingGroup" && strings.HasSuffix(r.URL.Path, "/plant") {
			return "ResourceNotFoundException", 404
		}
		return "", 0
	}
	dir := t.TempDir()
	r := mustPull(t, c.open(t, Options{}), PullOptions{Out: dir})
	if r.Policies != 1 || r.Things != 1 || r.Certificates != 1 || r.Groups != 2 {
		t.Errorf("%+v", r)
	}
	mustContain(t, fmt.Sprint(r.Notes), `"no-secrets" was deleted while`, `"press-2" was deleted while`, "{group \"line-a\" has the parent \"plant\", which was deleted")
}
