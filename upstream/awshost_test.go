package upstream

import "testing"

// Endpoints of every partition are known for what they are: quotas, ports and
// signatures depend on it.
func TestAWSHosts(t *testing.T) {
	for host, want := range map[string]AWSHost{
		"a1-ats.iot.eu-central-1.amazonaws.com":                  {"eu-central-1", "aws"},
		"A1-ATS.IoT.eu-central-1.AmazonAWS.com.":                 {"eu-central-1", "aws"},
		"a1-ats.iot.eu-central-1.api.aws":                        {"eu-central-1", "aws"},
		"vpce-1-a.iot.data.us-east-1.vpce.amazonaws.com":         {"us-east-1", "aws"},
		"a1.ats.iot.cn-north-1.amazonaws.com.cn":                 {"cn-north-1", "aws-cn"},
		"a1-ats.iot.us-gov-west-1.amazonaws.com":                 {"us-gov-west-1", "aws-us-gov"},
		"data.iot-fips.us-gov-east-1.amazonaws.com":              {"us-gov-east-1", "aws-us-gov"},
		"a1-ats.iot.eusc-de-east-1.amazonaws.eu":                 {"eusc-de-east-1", "aws-eusc"},
		"a1-ats.iot.us-iso-east-1.c2s.ic.gov":                    {"us-iso-east-1", "aws-iso"},
		"a1-ats.iot.us-isob-east-1.sc2s.sgov.gov":                {"us-isob-east-1", "aws-iso-b"},
		"a1-ats.iot.eu-isoe-west-1.cloud.adc-e.uk":               {"eu-isoe-west-1", "aws-iso-e"},
		"a1-ats.iot.us-isof-south-1.csp.hci.ic.gov":              {"us-isof-south-1", "aws-iso-f"},
		"something.without.a.region.amazonaws.com":               {"", "aws"},
		"a1-ats.iot.cn-northwest-1.api.amazonwebservices.com.cn": {"cn-northwest-1", "aws-cn"},
	} {
		if got, ok := ParseAWSHost(host); !ok || got != want {
			t.Errorf("%s: %+v, %v; want %+v", host, got, ok, want)
		}
	}
	for _, host := range []string{"", "localhost", "10.0.0.1", "amazonaws.com", "amazonaws.com.evil.example", "iot.eu-central-1.notamazonaws.com", "broker.example.com"} {
		if got, ok := ParseAWSHost(host); ok {
			t.Errorf("%q is taken for AWS's: %+v", host, got)
		}
	}
}
