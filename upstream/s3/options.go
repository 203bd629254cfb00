package s3

import (
	"fmt"
	"net/url"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream"
)

// Options say which bucket, who we are there, and what objects are like.
type Options struct {
	Bucket    string `koanf:"bucket" doc:"Name of the bucket; it must be there."`
	Region    string `koanf:"region" doc:"Region of the bucket; empty: as AWS's environment and profile say, and us-east-1 with an endpoint."`
	Endpoint  string `koanf:"endpoint" doc:"http:// or https:// address of a store that speaks S3, such as https://minio.example:9000; empty: Amazon S3."`
	PathStyle bool   `koanf:"path_style" doc:"Whether the bucket is named in the path and not in the host, as most stores but Amazon's want it."`

	Profile         string        `koanf:"profile" doc:"Profile of AWS's configuration files to take credentials from; empty: AWS_PROFILE, then default."`
	AccessKeyID     string        `koanf:"access_key_id" doc:"Access key, in place of what AWS's chain finds: environment, profile, single sign-on, web identity, container, instance."`
	SecretAccessKey bridge.Secret `koanf:"secret_access_key" doc:"Secret of the access key, as ${ENV} or file: reference."`
	SessionToken    bridge.Secret `koanf:"session_token" doc:"Session token of a temporary access key, as ${ENV} or file: reference."`

	Key          string `koanf:"key" template:"path" doc:"Key of an object, with ${clientid}, ${fileid} and ${name}, a / between each two, and what else makes a path, such as site-7/${clientid}/${fileid}/${name}."`
	StorageClass string `koanf:"storage_class" doc:"Storage class of the objects, such as STANDARD_IA; empty: the bucket's."`
	ACL          string `koanf:"acl" enum:"none,private,public-read,public-read-write,authenticated-read,aws-exec-read,bucket-owner-read,bucket-owner-full-control" doc:"Canned ACL of the objects; none sends none, as buckets want it that have ACLs disabled."`
	SSE          string `koanf:"sse" enum:"none,AES256,aws:kms" doc:"Encryption at the store: none leaves it to the bucket, AES256 has S3's own keys, aws:kms those of the key management."`
	SSEKey       string `koanf:"sse_key" doc:"With sse: aws:kms, the id or ARN of the key; empty: AWS's key for S3."`
	Manifest     string `koanf:"manifest" enum:"needed,always" doc:"When an object KEY.MANIFEST.json with what the device said of its file is put beside: always, or when that does not fit into the object's own metadata (2 KB)."`

	PartSize  bridge.Size   `koanf:"min_part_size" doc:"Size of the parts of a file that is larger, 5MiB to 1GiB; of one that would have more than 10000 of them they are larger. After a cut at most one part is sent again."`
	Timeout   time.Duration `koanf:"timeout" doc:"How long the store may be silent before an attempt is given up, 1s to 10m."`
	URLExpire time.Duration `koanf:"url_expire_time" doc:"How long an address works by which somebody without credentials reads an object, 1s to 168h."`

	CA    string                `koanf:"ca" doc:"PEM file with the authorities that may have signed the store's certificate; empty: the system's."`
	Proxy upstream.ProxyOptions `koanf:",squash"`
	Link  string                `koanf:"link" doc:"Name of the upstream over whose link the files go: their bytes are on its bill, and count against the budget of its metered section; empty: a line of their own, s3."`
}

// The values of the options.
const (
	none           = "none"
	sseKMS         = "aws:kms"
	manifestNeeded = "needed"
	manifestAlways = "always"
)

// S3's limits.
const (
	leastPart   = 5 << 20
	mostParts   = 10_000
	largestFile = 5 << 40
	longestKey  = 1024
	mostMeta    = 2048 // bytes of user metadata
)

// defaultRegion is what stores that have no regions want to be signed for.
const defaultRegion = "us-east-1"

// DefaultOptions are EMQX's.
func DefaultOptions() Options {
	return Options{
		Key: "${clientid}/${fileid}/${name}", ACL: none, SSE: none, Manifest: manifestNeeded,
		PartSize: leastPart, Timeout: time.Minute, URLExpire: time.Hour,
	}
}

// Validate lists what is wrong with the options of a target that is in use.
func (o Options) Validate() []bridge.Problem {
	var ps []bridge.Problem
	add := func(path, text, remedy string) {
		ps = append(ps, bridge.Problem{Path: path, Text: text, Remedy: remedy})
	}
	if o.Bucket == "" || strings.ContainsAny(o.Bucket, "/:?# ") {
		add("bucket", fmt.Sprintf("%q is not the name of a bucket", o.Bucket), "name the bucket that files go to")
	}
	if o.Endpoint != "" {
		u, err := url.Parse(o.Endpoint)
		if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Hostname() == "" || u.User != nil || strings.Trim(u.Path, "/") != "" || u.RawQuery != "" || u.Fragment != "" {
			add("endpoint", "is not the address of a store", "write it as https://host or https://host:port, or leave it empty for Amazon S3")
		}
	}
	ps = append(ps, upstream.ValidateLogin(o.Profile, o.AccessKeyID, string(o.SecretAccessKey), string(o.SessionToken))...)
	if _, err := upstream.ParseFilePath(o.Key); err != nil {
		add("key", err.Error(), "write a path such as ${clientid}/${fileid}/${name}")
	} else if len(o.Key) > longestKey/2 {
		add("key", fmt.Sprintf("has %d bytes, and keys have %d at most", len(o.Key), longestKey), "write a shorter path")
	}
	if strings.Trim(o.StorageClass, "ABCDEFGHIJKLMNOPQRSTUVWXYZ_0123456789") != "" {
		add("storage_class", fmt.Sprintf("%q is not a storage class", o.StorageClass), "write one such as STANDARD_IA, or leave it empty")
	}
	if o.SSEKey != "" && o.SSE != sseKMS {
		add("sse_key", "names a key of the key management, which is not in use", "write sse: aws:kms, or take it out")
	}
	if o.PartSize < leastPart || o.PartSize > 1<<30 {
		add("min_part_size", fmt.Sprintf("%v is out of range", o.PartSize), "write a size from 5MiB to 1GiB")
	}
	for path, d := range map[string]struct {
		v, high time.Duration
		text    string
	}{"timeout": {o.Timeout, 10 * time.Minute, "10m"}, "url_expire_time": {o.URLExpire, 7 * 24 * time.Hour, "168h"}} {
		if d.v < time.Second || d.v > d.high {
			add(path, fmt.Sprintf("%v is out of range", d.v), "write a duration from 1s to "+d.text)
		}
	}
	if o.CA != "" {
		ps = append(ps, upstream.TLSOptions{CA: o.CA}.Validate(true)...)
	}
	return append(ps, o.Proxy.Validate()...)
}

// OwnKeys reports whether the key begins with a level of fixed text, which tells the files
// of one gateway from those of others in the same bucket, whose devices may have equal
// ids.
func (o Options) OwnKeys() bool {
	fixed, _, _ := strings.Cut(o.Key, "${")
	return strings.Contains(fixed, "/")
}
