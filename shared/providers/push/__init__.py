"""Push providers: APNs, FCM."""
