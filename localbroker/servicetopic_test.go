package localbroker

import (
	"strings"
	"testing"
)

func TestParseService(t *testing.T) {
	const shadow, jobs, prov = serviceShadow, serviceJobs, serviceProvisioning
	for topic, want := range map[string]serviceTopic{
		"$aws/things/p/shadow/get":                              {shadow, roleRequest, "p", "", false, false},
		"$aws/things/p/shadow/update":                           {shadow, roleRequest, "p", "", true, false},
		"$aws/things/p/shadow/name/n/delete":                    {shadow, roleRequest, "p", "", false, false},
		"$aws/things/p/shadow/name/n/update/accepted":           {shadow, roleAnswer, "p", "$aws/things/p/shadow/name/n/update", true, false},
		"$aws/things/p/shadow/get/rejected":                     {shadow, roleAnswer, "p", "$aws/things/p/shadow/get", false, false},
		"$aws/things/p/shadow/update/delta":                     {shadow, roleNotice, "p", "", true, false},
		"$aws/things/p/shadow/name/n/update/documents":          {shadow, roleNotice, "p", "", true, false},
		"$aws/things/p/jobs/get":                                {jobs, roleRequest, "p", "", false, false},
		"$aws/things/p/jobs/start-next/accepted":                {jobs, roleAnswer, "p", "$aws/things/p/jobs/start-next", false, false},
		"$aws/things/p/jobs/$next/get":                          {jobs, roleRequest, "p", "", false, false},
		"$aws/things/p/jobs/7/update/rejected":                  {jobs, roleAnswer, "p", "$aws/things/p/jobs/7/update", false, false},
		"$aws/things/p/jobs/notify-next":                        {jobs, roleNotice, "p", "", false, false},
		"$aws/certificates/create/json":                         {prov, roleRequest, "", "", false, false},
		"$aws/certificates/create-from-csr/cbor/accepted":       {prov, roleAnswer, "", "$aws/certificates/create-from-csr/cbor", false, true},
		"$aws/provisioning-templates/t/provision/json/rejected": {prov, roleAnswer, "", "$aws/provisioning-templates/t/provision/json", false, false},
	} {
		if want.request == "" {
			want.request = topic
		}
		if got, ok := parseService(topic); !ok || got != want {
			t.Errorf("%s: %+v, %v; want %+v", topic, got, ok, want)
		}
	}
	for _, topic := range []string{
		"", "$aws/", "$aws", "$aws/things", "$aws/things/", "$aws/things//shadow/get", "$aws/things/p/shadow", "$aws/things/p/shadow/", "$aws/things/p/shadow/x",
		"$aws/things/p/shadow/name//get", "$aws/things/p/shadow/name/n", "$aws/things/p/shadow/get/delta", "$aws/things/p/shadow/update/delta/accepted",
		"$aws/things/p/shadow/accepted", "$aws/things/p/jobs/x", "$aws/things/p/jobs//get", "$aws/things/p/jobs/notify/accepted", "$aws/things/p/jobs/1/2/get",
		"$aws/things/p/streams/1/get/json", "$aws/certificates/create/xml", "$aws/certificates/delete/json", "$aws/certificates/json",
		"$aws/provisioning-templates//provision/json", "$aws/provisioning-templates/t/json", "$aws/rules/r/shadow/get", "aws/things/p/shadow/get", "x",
	} {
		if got, ok := parseService(topic); ok {
			t.Errorf("%q is taken for %+v", topic, got)
		}
	}
}

// FuzzParseService: whatever a device sends, an answer is that of its request.
func FuzzParseService(f *testing.F) {
	f.Add("$aws/things/p/shadow/name/n/update/accepted")
	f.Add("$aws/provisioning-templates/t/provision/cbor/rejected")
	f.Add("$aws/things/p/jobs/accepted/get/accepted")
	f.Fuzz(func(t *testing.T, topic string) {
		s, ok := parseService(topic)
		if !ok || s.role != roleAnswer {
			return
		}
		request, ok := parseService(s.request)
		if !ok || request.role != roleRequest || request.thing != s.thing || !strings.HasPrefix(topic, s.request+"/") {
			t.Errorf("%q answers %q, which is %+v, %v", topic, s.request, request, ok)
		}
	})
}
