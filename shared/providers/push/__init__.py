"""Push providers: FCM."""
