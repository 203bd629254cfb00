package account

import (
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// cloud is the control plane of AWS IoT as far as we call it: the paths,
// queries, bodies and errors of its REST API over an account that the test
// makes. The SDK's own code on the other side holds the shapes to AWS's model.
type cloud struct {
	t testing.TB

	mu           sync.Mutex
	policies     map[string]*cloudPolicy
	things       map[string]*cloudThing
	groups       map[string]*cloudGroup
	types        []map[string]any
	certificates map[string]*cloudCertificate
	page         int // most of a page, however many are asked for

	calls map[string]int // by the API's name of the call
	// before may answer instead: with an error's code and status.
	before func(call string, r *http.Request) (code string, status int)
	// decide answers one question of TestAuthorization.
	decide func(in testAuthorization, action, resource string) map[string]any
}

type cloudPolicy struct {
	versions []string // documents; the last is in force
	targets  []string
}

type cloudThing struct {
	kind       string
	attributes map[string]string
	principals map[string]string // ARN → EXCLUSIVE_THING or NON_EXCLUSIVE_THING
}

type cloudGroup struct {
	parent, query string
	attributes    map[string]string
	things        []string
}

type cloudCertificate struct{ status, mode, pem string }

type testAuthorization struct {
	ClientID  string   `json:"-"`
	Principal string   `json:"principal"`
	Add       []string `json:"policyNamesToAdd"`
	Skip      []string `json:"policyNamesToSkip"`
	AuthInfos []struct {
		ActionType string   `json:"actionType"`
		Resources  []string `json:"resources"`
	} `json:"authInfos"`
}

const (
	region  = "eu-central-1"
	owner   = "123456789012"
	arnRoot = "arn:aws:iot:" + region + ":" + owner + ":"
)

func newCloud(t testing.TB) *cloud {
	return &cloud{t: t, page: 250, calls: map[string]int{}, policies: map[string]*cloudPolicy{}, things: map[string]*cloudThing{}, groups: map[string]*cloudGroup{}, certificates: map[string]*cloudCertificate{}}
}

// open serves the cloud over HTTP and opens it as an account.
func (c *cloud) open(t testing.TB, o Options) *Account {
	t.Helper()
	srv := httptest.NewServer(c)
	t.Cleanup(srv.Close)
	o.Endpoint = srv.URL
	return openAccount(t, o)
}

func openAccount(t testing.TB, o Options) *Account {
	t.Helper()
	quiet(t)
	o.Region = region
	a, err := Open(t.Context(), o)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

// quiet keeps the machine's own AWS settings out, and gives credentials.
func quiet(t testing.TB) {
	none := t.TempDir() + "/none"
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "AKIDEXAMPLE", "AWS_SECRET_ACCESS_KEY": "example", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "",
		"AWS_CONFIG_FILE": none, "AWS_SHARED_CREDENTIALS_FILE": none, "AWS_EC2_METADATA_DISABLED": "true",
		"AWS_REGION": "", "AWS_DEFAULT_REGION": "", "AWS_ENDPOINT_URL": "", "AWS_ENDPOINT_URL_IOT": "", "AWS_MAX_ATTEMPTS": "", "AWS_CA_BUNDLE": "", "AWS_RETRY_MODE": "",
	} {
		t.Setenv(name, value)
	}
}

// heal has the cloud answer every call again, and count anew. The client
// does not wait for the handler of a request that it gave up.
func (c *cloud) heal() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.before = nil
	clear(c.calls)
}

// called is how often each call was made since heal.
func (c *cloud) called() map[string]int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return maps.Clone(c.calls)
}

// Do lets the cloud be a client's transport, without a network: for tests in
// a bubble of virtual time.
func (c *cloud) Do(r *http.Request) (*http.Response, error) {
	if err := r.Context().Err(); err != nil {
		return nil, err
	}
	w := httptest.NewRecorder()
	c.ServeHTTP(w, r)
	return w.Result(), nil
}

// routes are the calls with the parts of their paths; "*" is a name.
var routes = []struct{ call, method, path string }{
	{"ListPolicies", "GET", "policies"},
	{"GetPolicy", "GET", "policies/*"},
	{"ListPolicyVersions", "GET", "policies/*/version"},
	{"GetPolicyVersion", "GET", "policies/*/version/*"},
	{"ListTargetsForPolicy", "POST", "policy-targets/*"},
	{"ListThings", "GET", "things"},
	{"ListThingPrincipals", "GET", "things/*/principals"},
	{"ListThingPrincipalsV2", "GET", "things/*/principals-v2"},
	{"ListThingTypes", "GET", "thing-types"},
	{"ListThingGroups", "GET", "thing-groups"},
	{"DescribeThingGroup", "GET", "thing-groups/*"},
	{"ListThingsInThingGroup", "GET", "thing-groups/*/things"},
	{"ListCertificates", "GET", "certificates"},
	{"DescribeCertificate", "GET", "certificates/*"},
	{"TestAuthorization", "POST", "test-authorization"},
}

func (c *cloud) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	parts := strings.Split(strings.Trim(r.URL.Path, "/"), "/")
	for _, route := range routes {
		want := strings.Split(route.path, "/")
		if r.Method != route.method || !slices.EqualFunc(want, parts, func(a, b string) bool { return a == "*" || a == b }) {
			continue
		}
		if !strings.Contains(r.Header.Get("Authorization"), "/"+region+"/iot/aws4_request") {
			c.fail(w, "MissingAuthenticationTokenException", 403, "the request is not signed")
			return
		}
		c.calls[route.call]++
		if c.before != nil {
			if code, status := c.before(route.call, r); code != "" {
				c.fail(w, code, status, "no "+route.call+" for arn:aws:iam::"+owner+":user/me")
				return
			}
		}
		var args []string
		for i, p := range want {
			if p == "*" {
				args = append(args, parts[i])
			}
		}
		c.answer(w, r, route.call, args)
		return
	}
	c.fail(w, "UnknownOperationException", 404, r.Method+" "+r.URL.Path)
}

func (c *cloud) fail(w http.ResponseWriter, code string, status int, message string) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("X-Amzn-ErrorType", code+":http://internal.amazon.com/coral/com.amazonaws.iot/")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(map[string]string{"message": message})
}

func (c *cloud) answer(w http.ResponseWriter, r *http.Request, call string, args []string) {
	name := ""
	if len(args) > 0 {
		name = args[0]
	}
	missing := func() { c.fail(w, "ResourceNotFoundException", 404, call+": there is no "+name) }
	var out any
	switch call {
	case "ListPolicies":
		out = listPage(c, r, "policies", "marker", "nextMarker", sorted(c.policies), func(n string) any {
			return map[string]any{"policyName": n, "policyArn": arnRoot + "policy/" + n}
		})
	case "GetPolicy", "ListPolicyVersions", "GetPolicyVersion", "ListTargetsForPolicy":
		if p := c.policies[name]; p != nil {
			out = c.policy(r, call, name, p, args)
		}
	case "ListThings":
		out = listPage(c, r, "things", "nextToken", "nextToken", sorted(c.things), func(n string) any {
			t := c.things[n]
			return map[string]any{"thingName": n, "thingTypeName": optional(t.kind), "thingArn": arnRoot + "thing/" + n, "attributes": t.attributes, "version": 1}
		})
	case "ListThingPrincipals":
		if t := c.things[name]; t != nil {
			out = listPage(c, r, "principals", "nextToken", "nextToken", sorted(t.principals), func(n string) any { return n })
		}
	case "ListThingPrincipalsV2":
		if t := c.things[name]; t != nil {
			out = listPage(c, r, "thingPrincipalObjects", "nextToken", "nextToken", sorted(t.principals), func(n string) any {
				return map[string]any{"principal": n, "thingPrincipalType": t.principals[n]}
			})
		}
	case "ListThingTypes":
		out = map[string]any{"thingTypes": c.types}
	case "ListThingGroups":
		out = listPage(c, r, "thingGroups", "nextToken", "nextToken", sorted(c.groups), func(n string) any {
			return map[string]any{"groupName": n, "groupArn": arnRoot + "thinggroup/" + n}
		})
	case "DescribeThingGroup":
		if g := c.groups[name]; g != nil {
			out = map[string]any{
				"thingGroupName": name, "thingGroupArn": arnRoot + "thinggroup/" + name, "version": 1, "queryString": optional(g.query),
				"thingGroupProperties": map[string]any{"attributePayload": map[string]any{"attributes": g.attributes}},
				"thingGroupMetadata":   map[string]any{"parentGroupName": optional(g.parent), "creationDate": 1.7e9},
			}
		}
	case "ListThingsInThingGroup":
		if g := c.groups[name]; g != nil {
			out = listPage(c, r, "things", "nextToken", "nextToken", g.things, func(n string) any { return n })
		}
	case "ListCertificates":
		out = listPage(c, r, "certificates", "marker", "nextMarker", sorted(c.certificates), func(id string) any {
			k := c.certificates[id]
			return map[string]any{"certificateArn": arnRoot + "cert/" + id, "certificateId": id, "status": k.status, "certificateMode": optional(k.mode), "creationDate": 1.7e9}
		})
	case "DescribeCertificate":
		if k := c.certificates[name]; k != nil {
			out = map[string]any{"certificateDescription": map[string]any{
				"certificateId": name, "certificateArn": arnRoot + "cert/" + name, "status": k.status, "certificatePem": k.pem,
				"validity": map[string]any{"notBefore": 1.7e9, "notAfter": 2.5e9},
			}}
		}
	case "TestAuthorization":
		out = c.authorize(w, r)
	}
	if out == nil {
		missing()
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if err := json.NewEncoder(w).Encode(out); err != nil {
		c.t.Error(err)
	}
}

func (c *cloud) policy(r *http.Request, call, name string, p *cloudPolicy, args []string) any {
	last := len(p.versions)
	switch call {
	case "GetPolicy":
		return map[string]any{"policyName": name, "policyArn": arnRoot + "policy/" + name, "policyDocument": p.versions[last-1], "defaultVersionId": strconv.Itoa(last), "creationDate": 1.7e9, "lastModifiedDate": 1.71e9}
	case "ListPolicyVersions":
		var versions []any
		for i := range p.versions {
			versions = append(versions, map[string]any{"versionId": strconv.Itoa(i + 1), "isDefaultVersion": i+1 == last, "createDate": 1.7e9})
		}
		return map[string]any{"policyVersions": versions}
	case "GetPolicyVersion":
		if i, err := strconv.Atoi(args[1]); err == nil && i >= 1 && i <= last {
			return map[string]any{"policyName": name, "policyDocument": p.versions[i-1], "policyVersionId": args[1], "isDefaultVersion": i == last}
		}
		return nil
	}
	return listPage(c, r, "targets", "marker", "nextMarker", p.targets, func(t string) any { return t })
}

func (c *cloud) authorize(_ http.ResponseWriter, r *http.Request) any {
	var in testAuthorization
	if err := json.NewDecoder(r.Body).Decode(&in); err != nil || len(in.AuthInfos) < 1 || len(in.AuthInfos) > 10 {
		c.t.Errorf("TestAuthorization with %d questions: %v", len(in.AuthInfos), err)
		return nil
	}
	in.ClientID = r.URL.Query().Get("clientId")
	for _, name := range in.Add {
		if c.policies[name] == nil {
			return nil
		}
	}
	var results []any
	for _, q := range in.AuthInfos {
		answer := c.decide(in, q.ActionType, q.Resources[0])
		answer["authInfo"] = q
		results = append(results, answer)
	}
	return map[string]any{"authResults": results}
}

// listPage answers with a page of names, from the token on.
func listPage(c *cloud, r *http.Request, field, token, next string, names []string, item func(string) any) any {
	q := r.URL.Query()
	size := c.page
	for _, key := range []string{"pageSize", "maxResults"} {
		if n, err := strconv.Atoi(q.Get(key)); err == nil {
			size = min(size, n)
		}
	}
	from := 0
	if text := q.Get(token); text != "" {
		if _, err := fmt.Sscanf(text, "from-%d", &from); err != nil {
			c.t.Errorf("a token %q that was never given", text)
		}
	}
	items := []any{}
	for _, n := range names[min(from, len(names)):min(from+size, len(names))] {
		items = append(items, item(n))
	}
	out := map[string]any{field: items}
	if from+size < len(names) {
		out[next] = fmt.Sprintf("from-%d", from+size)
	}
	return out
}

func sorted[T any](m map[string]T) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}

// optional is null for an empty text, as AWS writes it.
func optional(text string) any {
	if text == "" {
		return nil
	}
	return text
}

// someday is when the tests pull.
func someday() time.Time { return time.Date(2026, time.November, 21, 9, 0, 0, 0, time.UTC) }

// peek reads a request's body and leaves it to be read again.
func peek(t testing.TB, r *http.Request) string {
	raw, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(strings.NewReader(string(raw)))
	return string(raw)
}
