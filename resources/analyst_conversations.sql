SELECT
    contact_id,
    sender,
    max(message_at) AS last_message_at,
    max(inbound_at) AS last_inbound_at,
    max(inbound_at) + INTERVAL 24 HOUR AS window_closes_at,
    count(message_at) AS messages,
    count(inbound_at) AS replies
FROM (
    SELECT contact_id, sender, accepted_at AS message_at, NULL AS inbound_at
    FROM ({messages}) WHERE accepted_at IS NOT NULL
    UNION ALL
    SELECT contact_id, sender, NULL, replied_at FROM ({replies})
)
GROUP BY contact_id, sender
