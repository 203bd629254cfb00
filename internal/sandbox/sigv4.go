package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"time"
)

// Keys are AWS credentials whose signatures are taken.
type Keys struct {
	AccessKeyID, SecretAccessKey string
	SessionToken                 string // of temporary credentials; empty: none
}

// Verify reports why a request is not signed with the keys as AWS wants it
// (Signature Version 4), for a service, at a time. The request is as the server
// got it, with its body. What is read off the signature itself, the region, is
// not judged.
//
// It is written after AWS's description alone and shares nothing with the SDK
// that the gateway signs with.
func (k Keys) Verify(r *http.Request, body []byte, service string, now time.Time) error {
	c, err := claimOf(r)
	if err != nil {
		return err
	}
	scope := strings.Split(c.credential, "/")
	switch {
	case len(scope) != 5 || scope[4] != "aws4_request":
		return errors.New("the credential has no scope")
	case scope[0] != k.AccessKeyID:
		return fmt.Errorf("the access key %.32q is not known", scope[0])
	case scope[3] != service:
		return fmt.Errorf("signed for the service %.32q, want %s", scope[3], service)
	case c.token != k.SessionToken:
		return errors.New("the session token is not the key's")
	case !strings.HasPrefix(c.date, scope[1]):
		return errors.New("signed on another day than its scope")
	case !slices.Contains(c.headers, "host"):
		return errors.New("the host is not signed")
	}
	at, err := time.Parse("20060102T150405Z", c.date)
	if err != nil {
		return errors.New("the time of signing is not one")
	}
	if d := now.Sub(at); d > skew || d < -skew {
		return fmt.Errorf("signed at %s, and it is %s", c.date, now.UTC().Format(time.RFC3339))
	}
	text := c.canonical(r, hashHex(body))
	toSign := "AWS4-HMAC-SHA256\n" + c.date + "\n" + strings.Join(scope[1:], "/") + "\n" + hashHex([]byte(text))
	key := []byte("AWS4" + k.SecretAccessKey)
	for _, part := range append(scope[1:], toSign) {
		key = mac(key, part)
	}
	if !hmac.Equal([]byte(hex.EncodeToString(key)), []byte(c.signature)) {
		return errors.New("the signature does not match")
	}
	return nil
}

// skew is how far a clock may be off.
const skew = 15 * time.Minute

// claim is what a request says of its signature.
type claim struct {
	credential, date, signature, token string
	headers                            []string // signed, lower case
	inQuery                            bool
}

// claimOf reads the Authorization header, or the query when there is none.
func claimOf(r *http.Request) (claim, error) {
	const algorithm = "AWS4-HMAC-SHA256"
	var c claim
	signed := ""
	if h := r.Header.Get("Authorization"); h != "" {
		rest, ok := strings.CutPrefix(h, algorithm+" ")
		if !ok {
			return c, errors.New("signed in a way that is not known")
		}
		for part := range strings.SplitSeq(rest, ",") {
			name, value, _ := strings.Cut(strings.TrimSpace(part), "=")
			switch name {
			case "Credential":
				c.credential = value
			case "SignedHeaders":
				signed = value
			case "Signature":
				c.signature = value
			}
		}
		c.date, c.token = r.Header.Get("X-Amz-Date"), r.Header.Get("X-Amz-Security-Token")
	} else {
		c.inQuery = true
		q := r.URL.Query()
		if q.Get("X-Amz-Algorithm") != algorithm {
			return c, errors.New("not signed")
		}
		c.credential, c.date, c.token = q.Get("X-Amz-Credential"), q.Get("X-Amz-Date"), q.Get("X-Amz-Security-Token")
		signed, c.signature = q.Get("X-Amz-SignedHeaders"), q.Get("X-Amz-Signature")
	}
	c.headers = strings.Split(signed, ";")
	if c.signature == "" || !slices.IsSorted(c.headers) {
		return c, errors.New("the signature is not complete")
	}
	return c, nil
}

// canonical is the request as both sides write it down.
func (c claim) canonical(r *http.Request, bodyHash string) string {
	path, query, _ := strings.Cut(r.RequestURI, "?")
	var b strings.Builder
	line := func(parts ...string) {
		for _, p := range parts {
			b.WriteString(p)
		}
		b.WriteByte('\n')
	}
	line(r.Method)
	line(escape(path, true)) // the second time: the path came escaped
	line(c.canonicalQuery(query))
	for _, name := range c.headers {
		values := r.Header.Values(name)
		switch name {
		case "host":
			values = []string{r.Host}
		case "content-length":
			values = []string{fmt.Sprint(r.ContentLength)}
		}
		for i, v := range values {
			values[i] = strings.Join(strings.Fields(v), " ")
		}
		line(name, ":", strings.Join(values, ","))
	}
	line()
	line(strings.Join(c.headers, ";"))
	b.WriteString(bodyHash)
	return b.String()
}

// canonicalQuery sorts the parameters. The signature is not in it, and of the
// session token AWS IoT Core says that it stands behind the signature too.
func (c claim) canonicalQuery(query string) string {
	type pair struct{ key, value string }
	var pairs []pair
	for part := range strings.SplitSeq(query, "&") {
		key, value, _ := strings.Cut(part, "=")
		if part == "" || c.inQuery && (key == "X-Amz-Signature" || key == "X-Amz-Security-Token") {
			continue
		}
		pairs = append(pairs, pair{escape(unescape(key), false), escape(unescape(value), false)})
	}
	slices.SortFunc(pairs, func(a, b pair) int {
		if n := strings.Compare(a.key, b.key); n != 0 {
			return n
		}
		return strings.Compare(a.value, b.value)
	})
	var words []string
	for _, p := range pairs {
		words = append(words, p.key+"="+p.value)
	}
	return strings.Join(words, "&")
}

// escape writes every byte but the unreserved ones of RFC 3986 as %XX.
func escape(s string, path bool) string {
	var b strings.Builder
	for i := range len(s) {
		ch := s[i]
		switch {
		case ch >= 'a' && ch <= 'z', ch >= 'A' && ch <= 'Z', ch >= '0' && ch <= '9', strings.IndexByte("-._~", ch) >= 0, path && ch == '/':
			b.WriteByte(ch)
		default:
			_, _ = fmt.Fprintf(&b, "%%%02X", ch)
		}
	}
	return b.String()
}

// unescape reads %XX; what is not one stays.
func unescape(s string) string {
	var b []byte
	for i := 0; i < len(s); i++ {
		if s[i] == '%' && i+2 < len(s) {
			if raw, err := hex.DecodeString(s[i+1 : i+3]); err == nil {
				b = append(b, raw[0])
				i += 2
				continue
			}
		}
		b = append(b, s[i])
	}
	return string(b)
}

func hashHex(b []byte) string {
	sum := sha256.Sum256(b)
	return hex.EncodeToString(sum[:])
}

func mac(key []byte, text string) []byte {
	h := hmac.New(sha256.New, key)
	h.Write([]byte(text))
	return h.Sum(nil)
}
