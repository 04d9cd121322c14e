-- One SELECT that returns contact_id. Further columns are for variables: {event: points}.
-- now() is the run's clock.
SELECT
    contact_id,
    CAST(sum(CAST(properties ->> 'amount' AS DOUBLE)) AS INTEGER) AS points,
    CAST(now() AS DATE) + INTERVAL 90 DAY AS valid_until
FROM events
WHERE event = 'purchase' AND occurred_at > now() - INTERVAL 90 DAY
GROUP BY contact_id
HAVING count(*) >= 3
ORDER BY points DESC
