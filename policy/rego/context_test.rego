package ebbgate.iot_test

import data.ebbgate.iot

attached := {
	"client_id": "t1", "thing_name": "t1", "thing_attached": true, "thing_type": "press",
	"thing_attributes": {"line": "a", "Line": "B"},
}

certified := {"client_id": "t1", "certificate": {
	"id": "c0ffee", "serial": "0A1B",
	"subject": {"CommonName": ["first", "a*b", "3", "4", "5", "sixth"], "AlternativeName.DNSName": ["t1.example"]},
	"issuer": {},
}}

test_thing_needs_attachment_and_the_name if {
	iot.variable("iot:Connection.Thing.ThingName") == "t1" with input.context as attached
	iot.variable("iot:connection.thing.thingtypename") == "press" with input.context as attached
	not iot.variable("iot:Connection.Thing.ThingName") with input.context as object.union(attached, {"client_id": "t2"})
	not iot.variable("iot:Connection.Thing.ThingName") with input.context as object.union(attached, {"thing_attached": false})
}

test_exclusive_thing_frees_the_client_id if {
	context := object.union(attached, {"client_id": "t2", "thing_exclusive": true})
	iot.variable("iot:Connection.Thing.ThingName") == "t1" with input.context as context
}

test_is_attached_is_always_there_on_mqtt if {
	iot.values("iot:connection.thing.isattached") == ["true"] with input.context as attached
	iot.values("iot:connection.thing.isattached") == ["false"] with input.context as {"client_id": "t1"}
	iot.values("iot:connection.thing.isattached") == [] with input.context as object.union(attached, {"protocol": "http"})
	iot.values("iot:clientid") == [] with input.context as object.union(attached, {"protocol": "http"})
}

test_attribute_names_keep_their_case if {
	iot.variable("IOT:connection.thing.attributes[line]") == "a" with input.context as attached
	iot.variable("iot:Connection.Thing.Attributes[Line]") == "B" with input.context as attached
	not iot.variable("iot:Connection.Thing.Attributes[LINE]") with input.context as attached
}

test_certificate_values if {
	name := "iot:certificate.subject.commonname"
	iot.values(name) == ["first"] with input.context as certified
	iot.values(concat("", [name, ".2"])) == ["3"] with input.context as certified
	iot.values(concat("", [name, ".5"])) == [] with input.context as certified
	count(iot.values(concat("", [name, ".list"]))) == 5 with input.context as certified
	iot.values("iot:certificate.subject.alternativename.dnsname") == ["t1.example"] with input.context as certified
	iot.values("iot:certificate.serialnumber") == ["0A1B"] with input.context as certified
	iot.variable("iot:CertificateId") == "c0ffee" with input.context as certified
}

test_certificate_values_that_are_not_put_in if {
	not iot.variable("iot:Certificate.Subject.CommonName.1") with input.context as certified
	not iot.variable("iot:Certificate.Subject.CommonName.List") with input.context as certified
	long := {"certificate": {"subject": {"CommonName": [concat("", [sprintf("%01025d", [0])])]}}}
	not iot.variable("iot:Certificate.Subject.CommonName") with input.context as long
}

test_default_values if {
	iot.variable("iot:Connection.Thing.ThingTypeName, 'none'") == "none" with input.context as {"client_id": "t1"}
	iot.variable("iot:Connection.Thing.ThingTypeName, 'none'") == "press" with input.context as attached
}

test_request_keys_are_no_variables if {
	not iot.variable("iot:LastWillTopic") with input.request as {"last_will_topic": "w"} with input.context as attached
	not iot.variable("aws:CurrentTime") with input.context as {"client_id": "t1", "current_time": "2026-01-01T00:00:00Z"}
	iot.variable("aws:SourceIp") == "10.0.0.1" with input.context as {"client_id": "t1", "source_ip": "10.0.0.1"}
}
