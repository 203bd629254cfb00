package aws

import (
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// The key of AWS's published test vectors, its region, service and time.
const (
	suiteKey    = "AKIDEXAMPLE"
	suiteSecret = "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY"
	suiteToken  = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"
)

func suite(token string) *Signer {
	s := NewSigner(Options{AccessKeyID: suiteKey, SecretAccessKey: suiteSecret, SessionToken: bridge.Secret(token)}, "us-east-1")
	s.mqtt, s.http = "service", "service"
	s.now = func() time.Time { return time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC) }
	return s
}

// U6: signatures in the header are those of AWS's test vectors.
func TestVectorsOfSignedRequests(t *testing.T) {
	for _, c := range []struct {
		name, method, path, body, token string
		header                          map[string]string
		signature                       string
	}{
		{"get-utf8", "GET", "/ሴ", "", "", nil, "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85"},
		{"get-space-unnormalized", "GET", "/example space/", "", "", nil, "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741"},
		{"get-header-value-trim", "GET", "/", "", "", map[string]string{"My-Header1": " value1", "My-Header2": ` "a   b   c"`}, "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"},
		{"get-vanilla-with-session-token", "GET", "/", "", suiteToken, nil, "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"},
		{"post-vanilla-query", "POST", "/?Param1=value1", "", "", nil, "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11"},
		{"post-sts-header-after", "POST", "/", "", "", nil, "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b"},
		{"post-x-www-form-urlencoded", "POST", "/", "Param1=value1", "", map[string]string{
			"Content-Type":         "application/x-www-form-urlencoded",
			"X-Amz-Content-Sha256": "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e",
		}, "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"},
	} {
		t.Run(c.name, func(t *testing.T) {
			path, query, _ := strings.Cut(c.path, "?")
			r, err := http.NewRequestWithContext(t.Context(), c.method, "https://example.amazonaws.com/?"+query, strings.NewReader(c.body))
			if err != nil {
				t.Fatal(err)
			}
			r.URL.Opaque = "//example.amazonaws.com" + path // the vectors' paths are not escaped
			for k, v := range c.header {
				r.Header.Set(k, v)
			}
			if err := suite(c.token).SignRequest(r, []byte(c.body)); err != nil {
				t.Fatal(err)
			}
			if got := r.Header.Get("Authorization"); !strings.HasSuffix(got, "Signature="+c.signature) {
				t.Errorf("signed with %s, want %s", got, c.signature)
			}
		})
	}
}

// U6: signatures in the query, as a WebSocket's address has them.
func TestVectorsOfSignedAddresses(t *testing.T) {
	for _, c := range []struct{ name, path, signature string }{
		{"get-vanilla-query", "/?X-Amz-Expires=3600", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"},
		{"get-vanilla-query-order-key-case", "/?Param2=value2&Param1=value1&X-Amz-Expires=3600", "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5"},
		{"get-unreserved", "/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz?X-Amz-Expires=3600", "95968482db1b9e0fadef6efc1bd24689f77c77d9ef56919c96a28cc92e0d6005"},
		{"get-vanilla-utf8-query", "/?ሴ=bar&X-Amz-Expires=3600", "0bdd809b1519ac4f0c1dc3540e2cc46bd0c7f778eda408b2ebf3b913d21ff600"},
	} {
		t.Run(c.name, func(t *testing.T) {
			for _, token := range []string{"", suiteToken} {
				got, ends, err := suite(token).SignURL(t.Context(), "wss://example.amazonaws.com"+c.path)
				if err != nil || !ends.IsZero() {
					t.Fatalf("%v, ends %v", err, ends)
				}
				u, err := url.Parse(got)
				if err != nil || u.Scheme != "wss" || u.Host != "example.amazonaws.com" {
					t.Fatalf("signed %s: %v", got, err)
				}
				// The token of AWS IoT Core is not signed: it changes nothing.
				if u.Query().Get("X-Amz-Signature") != c.signature || u.Query().Get("X-Amz-Security-Token") != token {
					t.Errorf("signed %s, want %s", got, c.signature)
				}
				if token != "" && !strings.HasSuffix(got, "&X-Amz-Security-Token="+token) {
					t.Errorf("the token does not come last in %s", got)
				}
			}
		})
	}
}

// Credentials that have ended are said to have, and looked for anew: somebody may
// have renewed them in their file.
func TestCredentialsOfAProfileAreReadAnew(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_CONFIG_FILE", filepath.Join(dir, "config"))
	file := filepath.Join(dir, "credentials")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", file)
	s := NewSigner(Options{Profile: "plant7"}, "eu-central-1")
	if _, _, err := s.SignURL(t.Context(), "wss://h/mqtt"); err == nil || !strings.Contains(err.Error(), "plant7") {
		t.Errorf("without credentials: %v, want the profile named", err)
	}
	for _, key := range []string{"AKIDFIRST", "AKIDSECOND"} {
		text := "[plant7]\naws_access_key_id = " + key + "\naws_secret_access_key = secret\n"
		if err := os.WriteFile(file, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		got, _, err := s.SignURL(t.Context(), "wss://h/mqtt")
		if err != nil || !strings.Contains(got, "X-Amz-Credential="+key+"%2F") || !strings.Contains(got, "%2Feu-central-1%2Fiotdevicegateway%2F") || strings.Contains(got, "secret") {
			t.Errorf("signed %s: %v, want by %s", got, err, key)
		}
	}
}

func TestValidate(t *testing.T) {
	for _, c := range []struct {
		name string
		o    Options
		want string
	}{
		{"nothing", Options{}, ""},
		{"a key", Options{AccessKeyID: "A", SecretAccessKey: "s", SessionToken: "t"}, ""},
		{"a key without its secret", Options{AccessKeyID: "A"}, "secret_access_key"},
		{"a secret without its key", Options{SecretAccessKey: "s"}, "access_key_id"},
		{"a token alone", Options{SessionToken: "t"}, "access_key_id"},
		{"a key and a profile", Options{AccessKeyID: "A", SecretAccessKey: "s", Profile: "p"}, "profile"},
	} {
		got := ""
		for _, p := range c.o.Validate() {
			got += p.Path
			if p.Text == "" || p.Remedy == "" {
				t.Errorf("%s: problem %+v lacks words", c.name, p)
			}
		}
		if got != c.want {
			t.Errorf("%s: problems at %q, want %q", c.name, got, c.want)
		}
	}
}

// Who hands credentials out may keep them until they end (a credential_process that
// caches): they are good for as long, are looked for anew every now and then in their
// last minutes, and no longer used when they have ended.
func TestCredentialsAreGoodUntilTheirEnd(t *testing.T) {
	dir := t.TempDir()
	for _, name := range []string{"AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"} {
		t.Setenv(name, "")
	}
	t.Setenv("AWS_EC2_METADATA_DISABLED", "true")
	t.Setenv("AWS_SHARED_CREDENTIALS_FILE", os.DevNull)
	config, given, asked := filepath.Join(dir, "config"), filepath.Join(dir, "given.json"), filepath.Join(dir, "asked")
	t.Setenv("AWS_CONFIG_FILE", config)
	write := func(path, text string) {
		t.Helper()
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write(config, "[profile vault]\ncredential_process = sh -c 'echo >>"+asked+"; cat "+given+"'\n")
	end := time.Now().Add(2 * time.Minute).UTC().Truncate(time.Second)
	give := func(key string, end time.Time) {
		write(given, `{"Version": 1, "AccessKeyId": "`+key+`", "SecretAccessKey": "secret", "SessionToken": "token", "Expiration": "`+end.Format(time.RFC3339)+`"}`)
	}
	give("AKIDFIRST", end)
	s := NewSigner(Options{Profile: "vault"}, "eu-central-1")
	now := time.Now()
	s.now = func() time.Time { return now }
	sign := func() (string, error) {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodPost, "https://h/topics/t", nil)
		if err != nil {
			t.Fatal(err)
		}
		err = s.SignRequest(r, nil)
		return r.Header.Get("Authorization"), err
	}
	if _, ends, err := s.SignURL(t.Context(), "wss://h/mqtt"); err != nil || !ends.Equal(end) {
		t.Errorf("a link that ends at %v: %v, want %v", ends, err, end)
	}
	for range 50 {
		now = now.Add(time.Second)
		if by, err := sign(); err != nil || !strings.Contains(by, "AKIDFIRST") {
			t.Fatalf("%v before the end: signed by %q: %v", end.Sub(now), by, err)
		}
	}
	if lines, err := os.ReadFile(asked); err != nil || len(lines) < 3 || len(lines) > 7 {
		t.Errorf("asked %d times in 50 seconds: %v", len(lines), err)
	}
	write(given, "no JSON")
	now = now.Add(lookAgain)
	if _, err := sign(); err != nil {
		t.Errorf("they have not ended, though there are no newer: %v", err)
	}
	give("AKIDFIRST", end)
	now = end
	if _, err := sign(); err == nil || !strings.Contains(err.Error(), "ended at "+end.Format(time.RFC3339)) {
		t.Errorf("after their end: %v", err)
	}
	give("AKIDSECOND", end.Add(time.Hour))
	if by, err := sign(); err != nil || !strings.Contains(by, "AKIDSECOND") {
		t.Errorf("signed by %q: %v", by, err)
	}
}
