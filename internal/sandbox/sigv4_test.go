package sandbox

import (
	"io"
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

// suiteKeys are those of AWS's published test vectors.
func suiteKeys(token string) Keys {
	return Keys{AccessKeyID: "AKIDEXAMPLE", SecretAccessKey: "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", SessionToken: token}
}

const suiteToken = "6e86291e8372ff2a2260956d9b8aae1d763fbf315fa00fa31553b73ebf194267"

// received is a request as a server has it.
func received(method, target, body string, header map[string]string) *http.Request {
	path, query, _ := strings.Cut(target, "?")
	r := &http.Request{
		Method: method, RequestURI: target, Host: "example.amazonaws.com", Header: http.Header{},
		URL: &url.URL{Path: path, RawQuery: query}, ContentLength: int64(len(body)), Body: io.NopCloser(strings.NewReader(body)),
	}
	for k, v := range header {
		r.Header.Set(k, v)
	}
	return r
}

// U6: the verifier agrees with AWS's published test vectors, and with no change
// of them.
func TestVectors(t *testing.T) {
	at := time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)
	const scope = "AKIDEXAMPLE/20150830/us-east-1/service/aws4_request"
	auth := func(headers, signature string) map[string]string {
		return map[string]string{
			"X-Amz-Date":    "20150830T123600Z",
			"Authorization": "AWS4-HMAC-SHA256 Credential=" + scope + ", SignedHeaders=" + headers + ", Signature=" + signature,
		}
	}
	with := func(h map[string]string, more ...string) map[string]string {
		for i := 0; i < len(more); i += 2 {
			h[more[i]] = more[i+1]
		}
		return h
	}
	query := func(before, signature string) string {
		return before + "X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=" + strings.ReplaceAll(scope, "/", "%2F") +
			"&X-Amz-Date=20150830T123600Z&X-Amz-SignedHeaders=host&X-Amz-Expires=3600&X-Amz-Signature=" + signature
	}
	for _, c := range []struct {
		name, method, target, body, token string
		header                            map[string]string
	}{
		{"get-utf8", "GET", "/ሴ", "", "", auth("host;x-amz-date", "8318018e0b0f223aa2bbf98705b62bb787dc9c0e678f255a891fd03141be5d85")},
		{"get-space-unnormalized", "GET", "/example space/", "", "", auth("host;x-amz-date", "652487583200325589f1fba4c7e578f72c47cb61beeca81406b39ddec1366741")},
		{"get-header-value-trim", "GET", "/", "", "", with(auth("host;my-header1;my-header2;x-amz-date", "acc3ed3afb60bb290fc8d2dd0098b9911fcaa05412b367055dee359757a9c736"),
			"My-Header1", " value1", "My-Header2", ` "a   b   c"`)},
		{"get-vanilla-with-session-token", "GET", "/", "", suiteToken, with(auth("host;x-amz-date;x-amz-security-token", "07ec1639c89043aa0e3e2de82b96708f198cceab042d4a97044c66dd9f74e7f8"),
			"X-Amz-Security-Token", suiteToken)},
		{"post-vanilla-query", "POST", "/?Param1=value1", "", "", auth("host;x-amz-date", "28038455d6de14eafc1f9222cf5aa6f1a96197d7deb8263271d420d138af7f11")},
		{"post-x-www-form-urlencoded", "POST", "/", "Param1=value1", "", with(auth("content-length;content-type;host;x-amz-content-sha256;x-amz-date", "d3875051da38690788ef43de4db0d8f280229d82040bfac253562e56c3f20e0b"),
			"Content-Type", "application/x-www-form-urlencoded", "X-Amz-Content-Sha256", "9095672bbd1f56dfc5b65f3e153adc8731a4a654192329106275f4c7b24d0b6e")},
		{"get-vanilla-query in the query", "GET", query("/?", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d"), "", "", nil},
		{"the same with a session token behind", "GET", query("/?", "e93c787ed7f371d5c6b165c1b38ede9550f4dce4144713e844b25b7192d3865d") + "&X-Amz-Security-Token=" + suiteToken, "", suiteToken, nil},
		{"get-vanilla-query-order-key-case in the query", "GET", query("/?Param2=value2&Param1=value1&", "86012e2c9ad4d77369f5d81c11f75158aae4f895a085212cc6d3f923d300bed5"), "", "", nil},
		{"get-unreserved in the query", "GET", query("/-._~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz?", "95968482db1b9e0fadef6efc1bd24689f77c77d9ef56919c96a28cc92e0d6005"), "", "", nil},
		{"get-vanilla-utf8-query in the query", "GET", query("/?ሴ=bar&", "0bdd809b1519ac4f0c1dc3540e2cc46bd0c7f778eda408b2ebf3b913d21ff600"), "", "", nil},
	} {
		t.Run(c.name, func(t *testing.T) {
			k := suiteKeys(c.token)
			verify := func(k Keys, target, body, service string, at time.Time, change func(*http.Request)) error {
				r := received(c.method, target, body, c.header)
				change(r)
				return k.Verify(r, []byte(body), service, at)
			}
			same := func(*http.Request) {}
			if err := verify(k, c.target, c.body, "service", at, same); err != nil {
				t.Fatalf("not taken: %v", err)
			}
			other, stranger, unknown := k, k, k
			other.SecretAccessKey += "x"
			stranger.AccessKeyID = "AKIDOTHER"
			unknown.SessionToken += "x"
			for what, err := range map[string]error{
				"another secret":  verify(other, c.target, c.body, "service", at, same),
				"another key":     verify(stranger, c.target, c.body, "service", at, same),
				"another token":   verify(unknown, c.target, c.body, "service", at, same),
				"another service": verify(k, c.target, c.body, "iotdata", at, same),
				"a body":          verify(k, c.target, c.body+"x", "service", at, same),
				"too late":        verify(k, c.target, c.body, "service", at.Add(16*time.Minute), same),
				"too early":       verify(k, c.target, c.body, "service", at.Add(-16*time.Minute), same),
				"another host":    verify(k, c.target, c.body, "service", at, func(r *http.Request) { r.Host = "example.com" }),
				"another method":  verify(k, c.target, c.body, "service", at, func(r *http.Request) { r.Method = "PUT" }),
				"another path":    verify(k, "/x"+c.target, c.body, "service", at, same),
			} {
				if err == nil {
					t.Errorf("%s is taken", what)
				}
			}
		})
	}
}

func TestWhatIsNotSigned(t *testing.T) {
	for name, header := range map[string]map[string]string{
		"nothing":           nil,
		"another way":       {"Authorization": "Bearer x"},
		"no scope":          {"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE, SignedHeaders=host, Signature=1"},
		"no signature":      {"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/r/service/aws4_request, SignedHeaders=host"},
		"the host left out": {"X-Amz-Date": "20150830T123600Z", "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/r/service/aws4_request, SignedHeaders=x-amz-date, Signature=1"},
		"no time":           {"X-Amz-Date": "20150830", "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/r/service/aws4_request, SignedHeaders=host, Signature=1"},
		"headers unsorted":  {"Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/r/service/aws4_request, SignedHeaders=x;host, Signature=1"},
		"another day":       {"X-Amz-Date": "20150831T000000Z", "Authorization": "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/r/service/aws4_request, SignedHeaders=host, Signature=1"},
	} {
		if err := suiteKeys("").Verify(received("GET", "/", "", header), nil, "service", time.Date(2015, 8, 30, 12, 36, 0, 0, time.UTC)); err == nil {
			t.Errorf("%s is taken", name)
		}
	}
}
