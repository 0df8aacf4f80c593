"""Addresses by the thousand: of every channel, as long as real ones are."""

from dataclasses import dataclass

from shared.domain.status import Channel


@dataclass(frozen=True, slots=True)
class AddressForm:
    name: str  # of the targets' ids: "push-17"
    channel: Channel
    prefix: str
    digits: int  # of the number between, zeros in front; 0: as many as it has
    suffix: str = ""

    def address(self, number: int) -> str:
        return f"{self.prefix}{number:0{self.digits}}{self.suffix}"


# none ever holds the word that the sinks refuse
REGISTRATION_TOKEN = AddressForm("push", Channel.PUSH, "fGw0qy4TQfmX2:APA91b", 134)  # of FCM
DEVICE_TOKEN = AddressForm("device", Channel.PUSH, "", 64)  # of APNs, hexadecimal
MAIL_ADDRESS = AddressForm("email", Channel.EMAIL, "person", 0, "@tidings.example")
PHONE_NUMBER = AddressForm("sms", Channel.SMS, "+1206", 7)
