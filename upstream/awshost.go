package upstream

import (
	"regexp"
	"slices"
	"strings"
)

// AWSHost is what the name of an AWS endpoint says.
type AWSHost struct {
	Region    string // as in the name; empty when that names none
	Partition string // aws, aws-cn, aws-us-gov and so on
}

// partitions are AWS's separate clouds by the ends of their host names, the
// names of dual-stack endpoints among them. The first that fits counts, so
// longer ends stand before those that they contain.
func partitions() []struct{ suffix, name string } {
	return []struct{ suffix, name string }{
		{".amazonaws.com.cn", "aws-cn"},
		{".api.amazonwebservices.com.cn", "aws-cn"},
		{".amazonaws.eu", "aws-eusc"},
		{".api.amazonwebservices.eu", "aws-eusc"},
		{".c2s.ic.gov", "aws-iso"},
		{".api.aws.ic.gov", "aws-iso"},
		{".sc2s.sgov.gov", "aws-iso-b"},
		{".api.aws.scloud", "aws-iso-b"},
		{".cloud.adc-e.uk", "aws-iso-e"},
		{".api.cloud-aws.adc-e.uk", "aws-iso-e"},
		{".csp.hci.ic.gov", "aws-iso-f"},
		{".api.aws.hci.ic.gov", "aws-iso-f"},
		{".amazonaws.com", "aws"},
		{".api.aws", "aws"},
	}
}

// region is what the names of AWS's regions look like.
var region = regexp.MustCompile(`^[a-z]{2,4}(-[a-z]+)+-[0-9]+$`)

// ParseAWSHost reads an AWS endpoint's host name; ok is false for every other
// host. Custom domains cannot be told from any other host.
func ParseAWSHost(host string) (h AWSHost, ok bool) {
	host = strings.ToLower(strings.TrimSuffix(host, "."))
	for _, p := range partitions() {
		before, found := strings.CutSuffix(host, p.suffix)
		if !found || before == "" {
			continue
		}
		h.Partition = p.name
		labels := strings.Split(before, ".")
		if i := slices.IndexFunc(labels, region.MatchString); i >= 0 {
			h.Region = labels[i]
		}
		if p.name == "aws" && strings.HasPrefix(h.Region, "us-gov-") {
			h.Partition = "aws-us-gov" // shares the names of aws
		}
		return h, true
	}
	return AWSHost{}, false
}
